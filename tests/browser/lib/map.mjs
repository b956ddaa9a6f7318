// The map of a box's pages: everything that links lead to from the overview, and every path of the tables in the source (TBI_PAGES), as one
// reader sees them. What is downloaded is fetched and not rendered; nothing is ever sent.

import { assert, needed } from "./harness.mjs";
import { path, visit } from "./box.mjs";

/** Of one path with different questions: filters, pages of a list. */
const VARIANTS = 3;
/** Of pages that one template makes: runs, accounts. */
const INSTANCES = 2;
const MOST_PAGES = 150;
/** What is fetched and not shown. */
const FILE = /\.[a-z0-9]{2,5}$|^\/metrics$/;

/** @typedef {{ path: string, methods: string[] }} Declared */

/** @returns {Declared[]} */
export function declared() {
  const pages = JSON.parse(needed("TBI_PAGES"));
  assert(Array.isArray(pages) && pages.length > 10, "the tables of pages were not found in the source");
  return pages;
}

/** @param {string} template @param {string} given */
export function fits(template, given) {
  const [parts, givens] = [template.split("/"), given.split("/")];
  return parts.length === givens.length && parts.every((part, at) => part === givens[at] || (part.startsWith("{") && givens[at] !== ""));
}

/**
 * Visits everything; `look` is called on each page that is shown. Gives what was seen: address and status.
 * @param {import("./harness.mjs").Story} story
 * @param {import("playwright-core").Page} page
 * @param {(at: string, status: number) => Promise<void>} look
 */
export async function explore(story, page, look) {
  const table = declared().filter((it) => it.methods.includes("get") && !it.path.startsWith("/assets/"));
  /** @type {string[]} */
  const waiting = ["/", ...table.map((it) => it.path).filter((it) => !it.includes("{") && it !== "/")];
  const known = new Set(waiting);
  /** @type {Map<string, number>} */
  const seen = new Map();
  /** @type {Map<string, number>} */
  const variants = new Map();
  const fetched = (/** @type {string} */ to) =>
    story.step(`${to} can be fetched`, async () => {
      const answer = await page.request.get(story.origin + to, { headers: { Accept: "*/*" } });
      assert(answer.status() < 400, `${to} is answered with ${answer.status()}`);
    });
  while (waiting.length > 0) {
    const at = /** @type {string} */ (waiting.shift());
    if (FILE.test(at)) {
      await fetched(at);
      continue;
    }
    const status = await story.step(`${at} is shown`, async () => {
      const response = await visit(page, at);
      assert(response, `${at} gave no answer`);
      assert(response.status() < 400, `${at} is answered with ${response.status()}`);
      return response.status();
    });
    seen.set(at, status ?? 0);
    if (status === undefined) continue;
    await look(at, status);
    // Checks may have followed a link within the page.
    const links = await page.evaluate(() =>
      [...document.querySelectorAll("a[href]")].map((it) => ({ href: /** @type {HTMLAnchorElement} */ (it).href, download: it.hasAttribute("download") })),
    );
    for (const { href, download } of links) {
      const url = new URL(href);
      if (url.origin !== story.origin) {
        story.note(`${at} links out of the box: ${href}`);
        continue;
      }
      const to = url.pathname + url.search;
      if (known.has(to) || url.pathname === path(page) && url.search === "") continue;
      known.add(to);
      if (download || url.pathname.startsWith("/api/") || FILE.test(url.pathname)) {
        await fetched(to);
        continue;
      }
      const template = table.find((it) => fits(it.path, url.pathname))?.path ?? url.pathname;
      const kind = url.search ? `${template}?` : template;
      const count = variants.get(kind) ?? 0;
      variants.set(kind, count + 1);
      const most = url.search ? VARIANTS : template.includes("{") ? INSTANCES : 1;
      if (count < most && seen.size + waiting.length < MOST_PAGES) waiting.push(to);
    }
  }
  for (const { path: template } of table.filter((it) => it.path.includes("{"))) {
    const reached = [...seen.keys()].some((at) => fits(template, at.split("?")[0]));
    if (!reached) story.note(`no link leads to a page ${template}`);
  }
  return seen;
}
