//! What is around every page for the end of a session: the warning, what keeps the form, and the reason at the login.

use super::{Browser, Stand};

#[tokio::test]
async fn a_page_says_when_its_session_ends_and_has_the_warning_for_it() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/account").await.is(200).has("data-person=\"vera\" data-idle=\"1800\"");
    page.has("<dialog id=\"idle\" aria-labelledby=\"idle-title\"").has("id=\"kept-typed\"").has("/app.js\"></script>");
    Browser::default().get(&stand, "/login").await.is(200).has_not("data-idle").has_not("<dialog");
    stand.stop().await;
}

#[tokio::test]
async fn a_session_that_has_ended_is_the_reason_that_the_login_names() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, "/login").await.leads_to("/");
    stand.on_box.memory.rows.lock().unwrap().sessions.clear();
    stand.on_box.access.session_changed();
    vera.get(&stand, "/licence").await.leads_to("/login?next=%2Flicence");
    vera.get(&stand, "/login?next=%2Flicence").await.is(200).has("Your session has ended");
    Browser::default().get(&stand, "/login").await.is(200).has_not("Your session has ended");
    stand.stop().await;
}
