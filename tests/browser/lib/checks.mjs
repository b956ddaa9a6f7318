// What every page must stand up to, whatever it shows: axe-core in light, dark and forced colours, 200 % zoom, the keyboard alone.
// Each check throws one sentence that names the elements.

import { AXE, assert } from "./harness.mjs";

/** Colours in which a page is audited. */
export const COLOURS = /** @type {const} */ ([
  ["light", { colorScheme: "light", forcedColors: "none" }],
  ["dark", { colorScheme: "dark", forcedColors: "none" }],
  ["forced colours", { colorScheme: "dark", forcedColors: "active" }],
]);
/** 1280 by 1024 at 200 %, and WCAG 1.4.10's 320 CSS pixels. */
export const NARROW = [
  { width: 640, height: 512 },
  { width: 320, height: 640 },
];
export const WIDE = { width: 1280, height: 1024 };

/**
 * No serious or critical violation.
 * @param {import("playwright-core").Page} page @param {string} colours
 */
export async function audit(page, colours) {
  // Evaluated by the debugger, so that the page's policy, which forbids it to others, stays as strict as it is.
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    // @ts-ignore: made by the line above
    const { violations } = await window.axe.run(document, {
      resultTypes: ["violations"],
      preload: false,
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return violations
      .filter((it) => it.impact === "serious" || it.impact === "critical")
      .map((it) => `${it.id} (${it.impact}): ${it.help}: ${it.nodes.slice(0, 4).map((node) => `${node.target.join(" ")} [${node.any.map((any) => any.message).join("; ").slice(0, 160)}]`).join(", ")}`);
  });
  assert(violations.length === 0, `axe-core in ${colours}: ${violations.join(" | ")}`);
}

/**
 * Nothing sticks out sideways but in what scrolls by itself, and no control is cut.
 * @param {import("playwright-core").Page} page @param {{ width: number, height: number }} size
 */
export async function zoomed(page, size) {
  await page.setViewportSize(size);
  // A picture that measures its place does so in the next frames.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))));
  const wrong = await page.evaluate(() => {
    /** @type {string[]} */
    const wrong = [];
    const name = (/** @type {Element} */ it) =>
      `${it.tagName.toLowerCase()}${it.id ? `#${it.id}` : ""}${it.className && typeof it.className === "string" ? `.${it.className.trim().replace(/\s+/g, ".")}` : ""} "${(it.textContent ?? "").trim().slice(0, 30)}"`;
    const root = document.documentElement;
    const width = root.clientWidth;
    /** Whether something above scrolls or hides on purpose. */
    const inside = (/** @type {Element} */ it) => {
      for (let above = it.parentElement; above && above !== document.body; above = above.parentElement) {
        const style = getComputedStyle(above);
        if (/auto|scroll/.test(style.overflowX) || style.clipPath !== "none") return true;
      }
      return false;
    };
    if (root.scrollWidth > width + 1) {
      const wide = [...document.body.querySelectorAll("*")].filter((it) => it.getBoundingClientRect().right > width + 1 && !inside(it));
      wrong.push(`the page scrolls sideways (${root.scrollWidth} of ${width} px) because of ${wide.slice(0, 4).map(name).join(", ")}`);
    }
    for (const it of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
      const box = it.getBoundingClientRect();
      // `.skip` comes into view with the focus.
      if (!it.checkVisibility?.({ visibilityProperty: true }) || box.width === 0 || it.classList.contains("skip") || inside(it)) continue;
      if (box.left < -1 || box.right > width + 1) wrong.push(`${name(it)} sticks out (${Math.round(box.left)} to ${Math.round(box.right)} of ${width} px)`);
      const style = getComputedStyle(it);
      if (it.matches("a, button, summary") && /hidden|clip/.test(style.overflowX) && it.scrollWidth > it.clientWidth + 1) wrong.push(`${name(it)} is cut`);
    }
    return wrong;
  });
  assert(wrong.length === 0, `at ${size.width} px: ${wrong.join("; ")}`);
}

/**
 * Tab reaches everything that can be used, in a circle, and each shows that it has the focus; the first stop skips to the content.
 * @param {import("playwright-core").Page} page
 */
export async function keyboard(page) {
  const names = await page.evaluate(() => {
    const name = (/** @type {Element} */ it) =>
      `${it.tagName.toLowerCase()}${it.id ? `#${it.id}` : ""}${it.getAttribute("name") ? `[name=${it.getAttribute("name")}]` : ""} "${(it.textContent ?? "").trim().slice(0, 30)}"`;
    const look = (/** @type {Element} */ it) => {
      const style = getComputedStyle(it);
      return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderColor, style.backgroundColor, style.textDecorationLine].join("|");
    };
    const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [contenteditable=true]")]
      .filter((it) => /** @type {HTMLElement} */ (it).tabIndex >= 0 && !it.matches(":disabled") && it.checkVisibility?.({ visibilityProperty: true }))
      // Of a group of radio buttons Tab stops at one; arrows choose.
      .filter((it) => {
        if (!(it instanceof HTMLInputElement) || it.type !== "radio" || !it.name) return true;
        const group = [...document.querySelectorAll("input[type=radio]")].filter((other) => other instanceof HTMLInputElement && other.name === it.name && other.form === it.form);
        const chosen = group.find((other) => other instanceof HTMLInputElement && other.checked);
        return chosen ? chosen === it : group[0] === it;
      });
    // @ts-ignore: for the walk below
    window.tbiStops = all.map((it) => ({ it, look: look(it), name: name(it) }));
    return all.map(name);
  });
  /** @type {Set<number>} */
  const reached = new Set();
  /** @type {string[]} */
  const wrong = [];
  await page.evaluate(() => {
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    getSelection()?.removeAllRanges();
    window.scrollTo(0, 0);
  });
  let circled = false;
  for (let press = 0; press < names.length * 2 + 20 && !circled; press += 1) {
    await page.keyboard.press("Tab");
    const seen = await page.evaluate(() => {
      const focused = document.activeElement;
      if (!focused || focused === document.body) return { index: -1, ok: true, name: "body" };
      // @ts-ignore: made above
      const index = window.tbiStops.findIndex((stop) => stop.it === focused);
      const style = getComputedStyle(focused);
      const look = [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderColor, style.backgroundColor, style.textDecorationLine].join("|");
      const outlined = style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 1;
      // @ts-ignore: made above
      const changed = index >= 0 && look !== window.tbiStops[index].look;
      const box = focused.getBoundingClientRect();
      const seen = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && box.width > 0;
      return { index, ok: (outlined || changed) && seen, name: `${focused.tagName.toLowerCase()}${focused.id ? `#${focused.id}` : ""} "${(focused.textContent ?? "").trim().slice(0, 30)}"`, seen };
    });
    if (press === 0) {
      const skips = await page.evaluate(() => document.activeElement?.getAttribute("href") === "#main");
      if (!skips) wrong.push(`the first stop of Tab is ${seen.name}, not the link that skips to the content`);
    }
    if (seen.index === -1 && seen.name === "body") {
      // Past the last one; the next press begins again.
      circled = reached.size > 0;
    } else if (reached.has(seen.index) && seen.index === 0) {
      circled = true;
    } else {
      if (!seen.ok) wrong.push(`${seen.name} has the focus and does not show it${seen.seen ? "" : " (it is out of view)"}`);
      reached.add(seen.index);
    }
  }
  if (!circled) wrong.push("Tab does not come round: something keeps the focus");
  const missed = names.filter((_name, index) => !reached.has(index));
  if (missed.length > 0) wrong.push(`Tab does not reach ${missed.slice(0, 5).join(", ")}`);
  await page.evaluate(() => {
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    window.scrollTo(0, 0);
  });
  const skip = page.locator('a[href="#main"]').first();
  if ((await skip.count()) > 0) {
    await skip.focus();
    await page.keyboard.press("Enter");
    const there = await page.evaluate(() => document.activeElement?.id === "main" || location.hash === "#main");
    if (!there) wrong.push("the link that skips to the content does not move the focus there");
  }
  assert(wrong.length === 0, `keyboard: ${[...new Set(wrong)].join("; ")}`);
}
