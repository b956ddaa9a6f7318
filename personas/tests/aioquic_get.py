"""Fetches one path over HTTP/3 with aioquic, an implementation that shares no code with ours.

Arguments: CA file, address, port, server name, path. Prints one JSON object: status, length, headers.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated

LIMIT_SECONDS = 20


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answer = {"status": None, "length": 0, "headers": {}}
        self.done = asyncio.get_running_loop().create_future()

    async def get(self, name, path):
        stream = self._quic.get_next_available_stream_id()
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", path.encode())]
        self.http.send_headers(stream, fields + [(b"x-tlsstress-token", b"0" * 32)], end_stream=True)
        self.transmit()
        return await asyncio.wait_for(self.done, LIMIT_SECONDS)

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated) and not self.done.done():
            self.done.set_exception(ConnectionError(event.reason_phrase))
        for part in self.http.handle_event(event):
            if isinstance(part, HeadersReceived):
                self.answer["headers"] = {key.decode(): value.decode() for key, value in part.headers}
                self.answer["status"] = int(self.answer["headers"][":status"])
            elif isinstance(part, DataReceived):
                self.answer["length"] += len(part.data)
            if getattr(part, "stream_ended", False) and not self.done.done():
                self.done.set_result(self.answer)


async def main():
    ca, address, port, name, path = sys.argv[1:]
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(ca)
    async with connect(address, int(port), configuration=configuration, create_protocol=Client) as client:
        print(json.dumps(await client.get(name, path)))


asyncio.run(main())
