"""GET each path over one HTTP/3 connection with aioquic and print `status bytes` for each.

usage: aioquic_get.py PORT SERVER_NAME CA_FILE PATH...
"""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}

    def quic_event_received(self, event):
        for part in self.http.handle_event(event):
            status, size, done = self.answers[part.stream_id]
            if isinstance(part, HeadersReceived):
                status = dict(part.headers)[b":status"].decode()
            elif isinstance(part, DataReceived):
                size += len(part.data)
            self.answers[part.stream_id] = (status, size, done)
            if part.stream_ended:
                done.set_result((status, size))

    async def get(self, name, path):
        stream = self._quic.get_next_available_stream_id()
        done = asyncio.get_running_loop().create_future()
        self.answers[stream] = (None, 0, done)
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", path.encode())]
        self.http.send_headers(stream, fields, end_stream=True)
        self.transmit()
        return await done


async def main(port, name, ca, paths):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name)
    configuration.load_verify_locations(cafile=ca)
    async with connect("127.0.0.1", int(port), configuration=configuration, create_protocol=Client) as client:
        for status, size in await asyncio.gather(*(client.get(name, path) for path in paths)):
            print(status, size)


asyncio.run(asyncio.wait_for(main(*sys.argv[1:4], sys.argv[4:]), 20))
