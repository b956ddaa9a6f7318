//! A run as it is followed: seven tabs at once, a second browser in the middle, reloads, a tab that nobody sees, a door that dies, an agent that
//! does not answer, two operators, and a run of seconds.

use std::time::Duration;

use tbi_tests::awake::Awake;
use tbi_tests::browser::Dashboard;

/// Trials long enough that something can happen within one: five blocks of three trials of five seconds and a half. Little load and much
/// patience, because nine pages of a browser are at work beside it.
const LONG: &str = r#"
name = "a run that is followed"
pairs = 2
reference_blocks = 1
protocols = ["h2"]
objects = ["1KB"]
personas = 10
handshake_timeout = "20s"
request_timeout = "30s"

[latency]
rate = "20/s"

[capacity]
connections = 4

[phases]
ramp_up = "500ms"
sustain = "5s"
"#;

#[test]
fn browser_a_run_is_followed_by_many_and_outlives_its_door() {
    let _awake = Awake::keep();
    Dashboard::start(LONG).walk("live", "en", Duration::from_secs(600));
}
