// A browser without JavaScript: everything that an operator's day needs works all the same.

import { assert, main } from "./lib/harness.mjs";
import { ADA, enter, logIn, logOut, PASSWORD, path, submit, visit, walkWizard } from "./lib/box.mjs";

await main(async (story) => {
  const { page } = await story.person({ javaScriptEnabled: false });
  await story.must("the box is claimed", () => enter(page));
  await story.step("the wizard, when there is one, comes to its end", () => walkWizard(page, async () => {}));
  await story.step("somebody logs out and in again", async () => {
    await visit(page, "/");
    await logOut(page);
    await logIn(page, ADA);
    assert(path(page) === "/", `the login led to ${page.url()}`);
  });
  await story.step("the overview shows the box and its runs", async () => {
    await visit(page, "/");
    assert((await page.locator("#box, main section").count()) > 0, "the overview is empty");
    assert((await page.locator("table.runs tbody tr").count()) > 0, "the run under way is not there");
    await story.shoot(page, "overview");
  });
  await story.step("the runs can be filtered and one be opened", async () => {
    await visit(page, "/runs?state=&name=");
    await page.locator("table.runs tbody a").first().click();
    await page.waitForURL(/\/runs\/[^/?]+$/);
    await story.shoot(page, "run");
  });
  await story.step("the audit chain can be read and checked", async () => {
    await visit(page, "/audit");
    assert((await page.locator("main table tbody tr").count()) > 0, "the chain is empty");
    const form = page.locator("main form.filter");
    await submit(page, form.locator("button[name=verify]"));
    assert((await page.locator(".good").count()) > 0, "the chain is not found intact");
    await story.shoot(page, "audit");
  });
  await story.step("an account is made and changed", async () => {
    await visit(page, "/users/new");
    await page.fill("[name=account]", "plain");
    await page.fill("[name=password]", PASSWORD);
    await page.fill("[name=again]", PASSWORD);
    await submit(page, page.locator('form[action="/users/new"] button.main'));
    await visit(page, "/users/account/plain");
    await page.selectOption("[name=role]", "auditor");
    await submit(page, page.locator("form button.main").first());
    await visit(page, "/users/account/plain");
    assert((await page.inputValue("[name=role]")) === "auditor", "the role was not kept");
    await story.shoot(page, "user");
  });
  await story.step("language and zone are chosen", async () => {
    await visit(page, "/preferences");
    await page.selectOption("main [name=language]", "pt-BR");
    await submit(page, page.locator("main form button.main"));
    await visit(page, "/");
    assert((await page.getAttribute("html", "lang")) === "pt-BR", "the language was not kept");
  });
  await story.step("somebody logs out, and nothing is shown any more", async () => {
    await visit(page, "/");
    await logOut(page);
    await page.goto("/runs");
    assert(path(page) === "/login", `/runs led to ${page.url()}`);
  });
});
