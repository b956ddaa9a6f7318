//! The gate. Its order: limit by address, identity, limit by identity, claims, step-up, CSRF; what is cheap and what tells least comes first.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tbi_api::access::{RefusalKind, Role, Scope};

use super::Access;
use super::answer::{Answer, Fault};
use super::clock::lock;
use super::identify::{Identity, Proof};
use super::token::role_of;
use crate::gate::{Asked, Caller, ChangeToken, Claims, Gate, Refusal};
use crate::limits::{Place, Standing};

/// Token of the session that a page sends with each change.
const CSRF_HEADER: &str = "x-tbi-csrf";

impl Gate for Access {
    fn admit<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Caller, Refusal>> {
        async move { self.decide(asked).await.map_err(|fault| *fault.0) }.boxed()
    }
}

impl Access {
    async fn decide(&self, asked: &Asked<'_>) -> Answer<Caller> {
        let place = Place::of(asked.peer.address);
        let mut standing = lock(&self.addresses).take(&place, self.clock.steady());
        if !standing.admitted {
            return Err(limited(&standing));
        }
        self.behind_the_limit(asked, &mut standing).await.map_err(|mut fault| {
            if fault.0.status != StatusCode::TOO_MANY_REQUESTS {
                standing.put_into(&mut fault.0.headers);
            }
            fault
        })
    }

    async fn behind_the_limit(&self, asked: &Asked<'_>, standing: &mut Standing) -> Answer<Caller> {
        if asked.claims.public {
            // A page of somebody else must not log a browser in, so what a browser says about its origin counts here, too.
            if !is_safe(asked.method) && origin(asked.headers) == Origin::Other {
                self.refused(asked.peer.address, None, RefusalKind::Csrf);
                return Err(csrf("it comes from a page of another site"));
            }
            return Ok(Caller { account: None, standing: *standing, unproven: false });
        }
        let identified = self.identify(asked.headers, asked.peer, asked.correlation_id).await?;
        let Some(identity) = identified else {
            self.refused_credentials(asked.peer, asked.headers).await;
            return Err(Fault::not_authenticated(
                asked.headers,
                "this needs a login: POST /api/v1/access/login, or an API token as Bearer; what was sent is unknown or has ended",
            ));
        };
        let of_account = lock(&self.identities).take(&identity.account().name, self.clock.steady());
        *standing = standing.tighter(of_account);
        if !of_account.admitted {
            return Err(limited(&of_account));
        }
        let refused = |kind| self.refused(asked.peer.address, Some(identity.account().name.as_str()), kind);
        let role =
            permitted(&identity, asked.claims, asked.method).inspect_err(|_| refused(RefusalKind::NotPermitted))?;
        let unproven = asked.claims.step_up && !proven_afresh(&identity);
        // A form is read first, so that what was typed can be kept while the proof is asked for.
        if unproven && (is_safe(asked.method) || asked.token == ChangeToken::Header) {
            return Err(Fault::step_up_required());
        }
        if !is_safe(asked.method) && asked.token == ChangeToken::Header {
            self.own_wish(&identity, asked.headers).inspect_err(|_| refused(RefusalKind::Csrf))?;
        }
        Ok(Caller { account: Some((identity.account().name.clone(), role)), standing: *standing, unproven })
    }

    /// That a change is the user's own wish, and not one of a page the user happens to look at.
    fn own_wish(&self, identity: &Identity, headers: &HeaderMap) -> Answer<()> {
        match &identity.proof {
            Proof::Session { id, .. } => {
                if origin(headers) != Origin::Own {
                    return Err(csrf("it does not say that it comes from a page of this box"));
                }
                let mut given = headers.get_all(CSRF_HEADER).into_iter();
                let right = given.next().is_some_and(|token| id.csrf_is(&self.keys, token.as_bytes()));
                if !right || given.next().is_some() {
                    return Err(csrf("X-TBI-CSRF is not the token of its session, which whoami gives"));
                }
                Ok(())
            }
            // For programs, which send no origin. But a browser adds these two by itself, also for other sites' pages.
            Proof::Password(_) | Proof::Certificate(_) if origin(headers) == Origin::Other => {
                Err(csrf("it comes from a page of another site"))
            }
            Proof::Password(_) | Proof::Certificate(_) | Proof::Token(_) => Ok(()),
        }
    }
}

fn limited(standing: &Standing) -> Fault {
    let mut fault = Fault::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate-limited",
        "too many requests; wait as long as Retry-After says, in seconds",
    );
    standing.put_into(&mut fault.0.headers);
    fault
}

fn csrf(why: &str) -> Fault {
    Fault::new(
        StatusCode::FORBIDDEN,
        "csrf",
        format!(
            "the request is not taken as the user's own wish: {why}; reload the page, or use an API token from programs"
        ),
    )
}

/// The role under which the caller may, or why not.
pub(crate) fn permitted(identity: &Identity, claims: &Claims, method: &Method) -> Answer<Role> {
    let role = identity.account().role;
    if !claims.roles.contains(&role) {
        let roles: Vec<&str> = claims.roles.iter().map(|role| role.as_str()).collect();
        return Err(Fault::not_permitted(format!(
            "the role {role} may not do this; it takes {}; ask an administrator",
            roles.join(" or ")
        )));
    }
    let Proof::Token(known) = &identity.proof else {
        return Ok(role);
    };
    let covers = |scope: &Scope| match scope {
        // Reading scopes change nothing, also where a viewer may, such as its own password.
        Scope::Read | Scope::Audit => is_safe(method) && claims.roles.contains(&role_of(*scope)),
        Scope::Run | Scope::Administer => claims.roles.contains(&role_of(*scope)),
        Scope::Configure => claims.roles.contains(&Role::Administrator) && !claims.step_up,
    };
    // An owner who lost a role took it from its tokens as well.
    let mut covering: Vec<Role> = known
        .token
        .scopes
        .iter()
        .filter(|scope| super::token::may_grant(role, **scope) && covers(scope))
        .map(|scope| role_of(*scope))
        .collect();
    // Under the least that is enough.
    covering.sort_unstable();
    covering.first().copied().ok_or_else(|| {
        Fault::not_permitted("the scopes of this token do not cover this; make a token with the scope it takes")
    })
}

fn proven_afresh(identity: &Identity) -> bool {
    match &identity.proof {
        Proof::Session { stepped_up, .. } => *stepped_up,
        // Granting this scope took a fresh proof.
        Proof::Token(known) => known.token.scopes.contains(&Scope::Administer),
        Proof::Password(_) | Proof::Certificate(_) => false,
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A page of this box.
    Own,
    /// A page of somebody else.
    Other,
    /// No browser says anything.
    Unsaid,
}

/// Where the page is that sends the request. Both headers are set by the browser, and no page can forge them. Without `Host` (HTTP/2 has it
/// only when the door puts it there) an origin has nothing to be compared with, and what the browser itself found out decides.
pub(crate) fn origin(headers: &HeaderMap) -> Origin {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let same = |origin: &[u8]| {
        let (Some(of_page), Some(host)) = (origin.strip_prefix(b"https://"), host) else {
            return false;
        };
        let plain = |host: &[u8]| host.strip_suffix(b":443").unwrap_or(host).to_ascii_lowercase();
        plain(of_page) == plain(host)
    };
    match (site, origin) {
        (Some(site), _) if site != b"same-origin" && site != b"none" => Origin::Other,
        (Some(b"same-origin"), Some(_)) if host.is_none() => Origin::Own,
        (_, Some(origin)) if same(origin) => Origin::Own,
        (_, Some(_)) => Origin::Other,
        (Some(b"same-origin"), None) => Origin::Own,
        (_, None) => Origin::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn origin_of(pairs: &[(&'static str, &str)]) -> Origin {
        origin(&pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn only_a_page_of_this_box_is_its_own() {
        let host = ("host", "tbi.local:8443");
        for (given, seen) in [
            (&[host, ("origin", "https://tbi.local:8443")][..], Origin::Own),
            (&[host, ("origin", "https://TBI.local:8443"), ("sec-fetch-site", "same-origin")], Origin::Own),
            (&[("host", "tbi.local"), ("origin", "https://tbi.local:443")], Origin::Own),
            (&[host, ("sec-fetch-site", "same-origin")], Origin::Own),
            (&[host, ("origin", "http://tbi.local:8443")], Origin::Other),
            (&[host, ("origin", "https://tbi.local")], Origin::Other),
            (&[host, ("origin", "https://evil.example")], Origin::Other),
            (&[host, ("origin", "null")], Origin::Other),
            (&[("origin", "https://tbi.local")], Origin::Other),
            (&[host, ("origin", "https://tbi.local:8443"), ("sec-fetch-site", "cross-site")], Origin::Other),
            (&[("origin", "https://tbi.local"), ("sec-fetch-site", "same-origin")], Origin::Own),
            (&[("origin", "https://tbi.local"), ("sec-fetch-site", "none")], Origin::Other),
            (&[host, ("sec-fetch-site", "same-site")], Origin::Other),
            (&[host, ("sec-fetch-site", "none")], Origin::Unsaid),
            (&[host], Origin::Unsaid),
        ] {
            assert_eq!(origin_of(given), seen, "{given:?}");
        }
    }
}
