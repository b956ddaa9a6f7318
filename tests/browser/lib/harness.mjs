// What every browser story needs: a browser, steps that are told as JSON lines, pictures, and guards that watch every page from its first
// byte: no request leaves the box, nothing breaks the content security policy, no script fails, no dialog opens.
//
// A step that fails is told with its sentence and the story goes on where it can; the Rust test that started it fails on any. The last line
// says that the story came to its end, so that a script that dies is no success.

import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Outside the tree: the image tool installs them into its cache. */
const modules = needed("TBI_BROWSER_MODULES");
const require = createRequire(join(modules, "/"));
const { chromium } = require("playwright-core");

/** Of a page, an answer, a control that should be there. */
export const SOON = 15_000;

/** Chromium's own traffic off, and a sandbox that root cannot have. */
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** A box behind a port of this machine keeps its own name, for which its certificate and its origin are. */
function resolver() {
  const rule = process.env.TBI_RESOLVE;
  return rule ? [`--host-resolver-rules=MAP ${rule}`] : [];
}

/** Requests in ten seconds that a browser of ours makes of a box, which lets an address make 200: with all requests looked at, a browser keeps nothing. */
const PACE = 150;
const WINDOW = 10_000;

/** @param {string} name @returns {string} */
export function needed(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set; start this script by its Rust test: cargo tbi test browser`);
  }
  return value;
}

/** The source of axe-core, to be evaluated in a page. */
export const AXE = readFileSync(join(modules, "axe-core/axe.min.js"), "utf8");

/** @param {Record<string, unknown>} words */
function tell(words) {
  process.stdout.write(`${JSON.stringify(words)}\n`);
}

/** A story: one browser, its contexts, what was seen. */
export class Story {
  constructor() {
    this.base = needed("TBI_URL").replace(/\/$/, "");
    this.origin = new URL(this.base).origin;
    this.language = process.env.TBI_LANGUAGE ?? "en";
    this.pictures = needed("TBI_BROWSER_OUT");
    mkdirSync(this.pictures, { recursive: true });
    this.failures = 0;
    this.steps = 0;
    this.picture = 0;
    /** What the console may say for a while. @type {RegExp | null} */
    this.forgiven = null;
    /** What the guards saw since the last look. @type {string[]} */
    this.seen = [];
    /** @type {Map<string, { kind: string, bytes: number }>} */
    this.assets = new Map();
    this.requests = 0;
    /** When the last of them were made. A lab, which is not reached by a name, has no such limit. @type {number[] | undefined} */
    this.recent = process.env.TBI_RESOLVE ? [] : undefined;
    /** Protocols of answers, as the browser names them. @type {Set<string>} */
    this.protocols = new Set();
  }

  async open() {
    this.profile = mkdtempSync(join(tmpdir(), "tbi-browser-"));
    this.browser = await chromium.launch({
      executablePath: needed("TBI_CHROMIUM"),
      headless: true,
      args: [...ARGUMENTS, ...resolver(), `--crash-dumps-dir=${this.profile}`],
      env: { ...process.env, HOME: this.profile },
    });
  }

  /**
   * A person with a browser of their own; every one is guarded.
   * @param {import("playwright-core").BrowserContextOptions} [options]
   * @param {boolean} [listens] whether a script of ours listens in each page; a document whose sandbox allows no script complains of it
   */
  async person(options = {}, listens = true) {
    const context = await this.browser.newContext({
      baseURL: this.base,
      // The box's CA is not in the browser's store; which certificate it shows is tested elsewhere.
      ignoreHTTPSErrors: true,
      locale: this.language,
      viewport: { width: 1280, height: 1024 },
      // What scrolls slowly is not where it will be when it is looked at.
      reducedMotion: "reduce",
      ...options,
    });
    context.setDefaultTimeout(SOON);
    context.setDefaultNavigationTimeout(30_000);
    await context.route("**/*", async (route) => {
      const url = route.request().url();
      this.requests += 1;
      await this.pace();
      if (/^(data|blob|about):/.test(url) || new URL(url).origin === this.origin) {
        return route.continue();
      }
      this.seen.push(`a request leaves the box: ${url} (from ${route.request().frame().url()})`);
      return route.abort();
    });
    if (listens) await this.listen(context);
    context.on("page", (page) => this.guard(page));
    const page = await context.newPage();
    return { context, page };
  }

  /** Waits until one more request is a person's pace. */
  async pace() {
    const recent = this.recent;
    if (!recent) return;
    for (;;) {
      while (recent.length > 0 && Date.now() - recent[0] > WINDOW) recent.shift();
      if (recent.length < PACE) break;
      await new Promise((done) => setTimeout(done, recent[0] + WINDOW + 1 - Date.now()));
    }
    recent.push(Date.now());
  }

  /** @param {import("playwright-core").BrowserContext} context */
  async listen(context) {
    await context.exposeBinding("tbiViolation", (_source, words) => {
      this.seen.push(`the content security policy is broken: ${words}`);
    });
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        // @ts-ignore: made by exposeBinding
        window.tbiViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""} ${event.sample ?? ""}`);
      });
    });
  }

  /** @param {import("playwright-core").Page} page */
  guard(page) {
    page.on("dialog", (dialog) => {
      this.seen.push(`a dialog opened: ${dialog.type()} "${dialog.message()}" on ${page.url()}`);
      void dialog.dismiss();
    });
    page.on("pageerror", (error) => this.seen.push(`a script fails on ${page.url()}: ${error.message}`));
    page.on("console", (message) => {
      const from = message.location().url ?? "";
      // The browser itself calls a refused form, which is a page with its messages, a failed resource.
      const refusal = /Failed to load resource.*status of (400|401|403|404|409|413|422|429)/.test(message.text());
      const forgiven = this.forgiven?.test(message.text()) ?? false;
      if (message.type() === "error" && !forgiven && !(refusal && !from.includes("/assets/"))) {
        this.seen.push(`the console says on ${page.url()}: ${message.text()}`);
      }
    });
    page.on("response", (response) => {
      const path = new URL(response.url()).pathname;
      if (!path.startsWith("/assets/")) return;
      const type = response.headers()["content-type"] ?? "";
      const kind = /javascript/.test(type) ? "js" : /css/.test(type) ? "css" : "other";
      if (response.status() >= 400) {
        this.seen.push(`${path} is answered with ${response.status()}`);
      } else if (!this.assets.has(path)) {
        this.assets.set(path, { kind, bytes: 0 });
        response.body().then((body) => this.assets.set(path, { kind, bytes: body.length }), () => {});
      }
    });
  }

  /** What the guards saw since the last time; empties it. */
  complaints() {
    return this.seen.splice(0);
  }

  /**
   * One step: done, looked over by the guards, told. Its value is what `work` gives; `undefined` when it failed.
   * @template T
   * @param {string} sentence what is true when it is done
   * @param {() => Promise<T>} work
   * @returns {Promise<T | undefined>}
   */
  async step(sentence, work) {
    const began = Date.now();
    this.steps += 1;
    /** @type {string[]} */
    const why = [];
    let value;
    try {
      value = await work();
    } catch (error) {
      why.push(error instanceof Error ? error.message : String(error));
    }
    why.push(...this.complaints());
    if (why.length > 0) this.failures += 1;
    tell({ step: sentence, ok: why.length === 0, ms: Date.now() - began, why });
    return value;
  }

  /** A step without which nothing that follows makes sense. */
  async must(sentence, work) {
    const before = this.failures;
    const value = await this.step(sentence, work);
    if (this.failures > before) throw new Stop(sentence);
    return value;
  }

  /**
   * Lets the console complain of what a story breaks on purpose, such as a door that is gone.
   * @param {RegExp} pattern @param {() => Promise<void>} work
   */
  async forgiving(pattern, work) {
    this.forgiven = pattern;
    try {
      await work();
    } finally {
      this.forgiven = null;
    }
  }

  /** Something worth reading that is no failure. @param {string} words */
  note(words) {
    tell({ note: words });
  }

  /** @param {import("playwright-core").Page} page @param {string} name */
  async shoot(page, name) {
    this.picture += 1;
    const file = `${String(this.picture).padStart(2, "0")}-${name.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "overview"}.png`;
    await page.screenshot({ path: join(this.pictures, file), fullPage: true });
  }

  /** JavaScript and style of all pages seen so far, bytes. */
  weights() {
    const sum = { js: 0, css: 0, other: 0 };
    for (const { kind, bytes } of this.assets.values()) sum[kind] += bytes;
    return sum;
  }

  async close() {
    await this.browser?.close();
    if (this.profile) rmSync(this.profile, { recursive: true, force: true });
  }
}

/** The story cannot go on; why was told. */
class Stop extends Error {}

/**
 * Runs a story to its end and tells how it went.
 * @param {(story: Story) => Promise<void>} tale
 */
export async function main(tale) {
  const story = new Story();
  let whole = false;
  try {
    await story.open();
    await tale(story);
    whole = true;
  } catch (error) {
    if (!(error instanceof Stop)) {
      story.failures += 1;
      tell({ step: "the script runs to its end", ok: false, ms: 0, why: [error instanceof Error ? error.stack : String(error)] });
    }
  } finally {
    await story.close();
  }
  const weights = story.weights();
  tell({ end: true, whole, steps: story.steps, failures: story.failures, requests: story.requests, weights });
  process.exitCode = whole && story.failures === 0 ? 0 : 1;
}

/**
 * @param {unknown} holds
 * @param {string} sentence
 * @returns {asserts holds}
 */
export function assert(holds, sentence) {
  if (!holds) throw new Error(sentence);
}
