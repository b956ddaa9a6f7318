//! What the box says of itself, and what a supporter is given.

use super::{Browser, Stand};

#[tokio::test]
async fn the_box_says_what_it_is_and_whose_work_is_in_it() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/about").await.is(200).has("0.1.0 (abc1234), release").has("tbi_0.1.0");
    let page = page.has("Example Corp. Box 9").has("AES-NI, AVX2").has("8.0 GiB").has("sealed to the TPM");
    page.has("eno1, 52:54:00:12:34:56, ixgbe, 10,000 Mbit/s, trunk")
        .has("<code>boot.secure</code>")
        .has("gives out first");
    let page = vera.get(&stand, "/about/licences").await.is(200).has("Apache License 2.0");
    page.has("<th scope=\"row\">rustls</th>").has("<th scope=\"row\">tokio</th>").has("MIT");
    stand.stop().await;
}

#[tokio::test]
async fn a_supporter_is_given_files_by_those_who_may_take_them() {
    let stand = Stand::start().await;
    for (name, may) in [("anna", true), ("aura", true), ("olaf", false), ("vera", false)] {
        let mut browser = Browser::log_in(&stand, name).await;
        let page = browser.get(&stand, "/support").await.is(200).has("name a time server").has("href=\"/metrics\"");
        assert_eq!(page.body.contains("/api/v1/agent/support/bundle"), may, "{name}");
        page.has_not("claim-code-that-is-the-consoles");
    }
    stand.stop().await;
}
