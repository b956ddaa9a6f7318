//! Every request a trial can send, made once: per target one template, or ten for the mix.

use bytes::Bytes;
use tbi_bench::control::engine::Target;
use tbi_bench::object::{MIX_BYTES, Object};
use tbi_bench::protocol::Protocol;

use crate::codec::request::{Request, RequestError, TokenHex};
use crate::codec::{h2_client, h3_frames, http1};

/// The requests of a trial.
#[derive(Debug)]
pub struct Templates {
    object: Object,
    per_target: Vec<Vec<Prepared>>,
}

#[derive(Debug)]
struct Prepared {
    template: Template,
    /// Without a token, shared by all requests that carry none.
    plain: Bytes,
}

/// The request of one protocol.
#[derive(Debug)]
enum Template {
    H1(http1::RequestTemplate),
    H2(h2_client::RequestTemplate),
    H3(h3_frames::RequestTemplate),
}

impl Prepared {
    fn new(protocol: Protocol, request: &Request) -> Self {
        let template = match protocol {
            Protocol::H1 => Template::H1(http1::RequestTemplate::new(request)),
            Protocol::H2 => Template::H2(h2_client::RequestTemplate::new(request)),
            Protocol::H3 => Template::H3(h3_frames::RequestTemplate::new(request)),
        };
        let mut plain = Vec::new();
        template.write(None, &mut plain);
        Self { template, plain: plain.into() }
    }
}

impl Template {
    fn write(&self, token: Option<&TokenHex>, out: &mut Vec<u8>) {
        match self {
            Template::H1(template) => template.write(token, out),
            // HTTP/2 needs the stream number and is written by the client itself.
            Template::H2(_) => {}
            Template::H3(template) => template.write(token, out),
        }
    }
}

impl Templates {
    /// Builds the requests for `object` of every target.
    ///
    /// # Errors
    /// [`RequestError`] when a server name cannot be put on the wire.
    pub fn new(protocol: Protocol, object: Object, targets: &[Target]) -> Result<Self, RequestError> {
        let variants = if object == Object::Mix { MIX_BYTES.len() } else { 1 };
        let per_target = targets
            .iter()
            .map(|target| {
                (0..variants)
                    .map(|n| {
                        let request = Request::new(object.request(n as u64).0, &target.server_name)?;
                        Ok(Prepared::new(protocol, &request))
                    })
                    .collect()
            })
            .collect::<Result<_, RequestError>>()?;
        Ok(Self { object, per_target })
    }

    /// Appends the `n`-th request to a target and returns the body bytes it asks for. Targets come from [`Self::new`]'s list.
    pub fn write(&self, target: usize, n: u64, token: Option<&TokenHex>, out: &mut Vec<u8>) -> u64 {
        self.prepared(target, n).template.write(token, out);
        u64::from(self.object.request(n).1)
    }

    /// The same as shared bytes: without a token nothing is copied.
    #[must_use]
    pub fn bytes(&self, target: usize, n: u64, token: Option<&TokenHex>) -> (Bytes, u64) {
        let prepared = self.prepared(target, n);
        let bytes = match token {
            None => prepared.plain.clone(),
            Some(_) => {
                let mut bytes = Vec::with_capacity(prepared.plain.len() + 64);
                prepared.template.write(token, &mut bytes);
                bytes.into()
            }
        };
        (bytes, u64::from(self.object.request(n).1))
    }

    /// The `n`-th HTTP/2 request and the body bytes it asks for; `None` in a trial of another protocol.
    #[must_use]
    pub fn h2(&self, target: usize, n: u64) -> Option<(&h2_client::RequestTemplate, u64)> {
        match &self.prepared(target, n).template {
            Template::H2(template) => Some((template, u64::from(self.object.request(n).1))),
            Template::H1(_) | Template::H3(_) => None,
        }
    }

    fn prepared(&self, target: usize, n: u64) -> &Prepared {
        let variants = &self.per_target[target];
        &variants[(n % variants.len() as u64) as usize]
    }
}
