// Pictures of a run's seconds: time to first byte, connections, requests and throughput over the time of the run, one line for each arm. Reads
// the series that the agent makes; the words come from the page. Every picture has a cursor for the keyboard that says what is under it, and a
// table of the same numbers.
import uPlot from "./uplot.js";

/**
 * @typedef {{protocol: string, object: string, kind: string, arm: string, joined: number, at_s: number[], connections_per_s: number[],
 *   requests_per_s: number[], failed_per_s: number[], mbit_per_s: number[], ttfb_p50_ms: (number | null)[]}} Trace
 * @typedef {{key: string, kind: string, title: string, unit: string}} Measure
 */

/** Height of a picture, CSS pixels. */
const HEIGHT = 220;
const ARMS = ["on", "bypass", "reference"];
/** An arm is told by its dashes as well as by its colour. */
const DASHES = { on: [], bypass: [8, 4], reference: [2, 3] };
/** Rows of a table at most; the CSV has all. */
const MOST_ROWS = 400;

/** @param {Element} parent @param {string} name @param {Record<string, string>} [attributes] @param {string} [text] */
function element(parent, name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

/** The colour of a class as it is now, light or dark. @param {Element} root @param {string} name */
function colour(root, name) {
  const probe = element(root, "span", { class: name, hidden: "" });
  const seen = getComputedStyle(probe).color;
  probe.remove();
  return seen;
}

/** One picture. */
class Chart {
  /** @param {Element} root @param {Measure} measure @param {DOMStringMap} words @param {Intl.NumberFormat} numbers */
  constructor(root, measure, words, numbers) {
    this.measure = measure;
    this.words = words;
    this.numbers = numbers;
    this.plot = null;
    this.data = [[]];
    this.arms = /** @type {string[]} */ ([]);
    this.at = -1;
    this.figure = element(root, "figure", { class: "chart" });
    element(this.figure, "figcaption", {}, `${measure.title}, ${measure.unit}`);
    this.place = element(this.figure, "div", {
      tabindex: "0", role: "group", "aria-label": `${measure.title}. ${words.keys}`,
    });
    this.said = element(this.figure, "p", { class: "said", "aria-live": "polite" });
    this.twin = element(this.figure, "details");
    element(this.twin, "summary", {}, words.table);
    this.scroll = element(this.twin, "div", { class: "scroll", role: "region", tabindex: "0", "aria-label": measure.title });
    this.twin.addEventListener("toggle", () => this.tabulate());
    this.place.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event)));
  }

  /** @param {Trace[]} traces */
  show(traces) {
    const own = traces.filter((trace) => trace.kind === this.measure.kind && trace.at_s.length > 0);
    this.figure.hidden = own.length === 0;
    if (own.length === 0) return;
    own.sort((one, other) => ARMS.indexOf(one.arm) - ARMS.indexOf(other.arm));
    const arms = own.map((trace) => trace.arm);
    this.data = uPlot.join(own.map((trace) => [trace.at_s, trace[this.measure.key]]));
    if (this.plot && arms.join() === this.arms.join()) {
      this.plot.setData(this.data);
    } else {
      this.arms = arms;
      this.draw();
    }
    this.tabulate();
  }

  draw() {
    this.plot?.destroy();
    const ink = colour(this.figure, "line-ink");
    const rule = colour(this.figure, "line-rule");
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    const shown = (_plot, value) => (value == null ? "–" : this.numbers.format(value));
    this.plot = new uPlot({
      width: this.width(), height: HEIGHT,
      // From nothing: a rate that is cut off at its foot looks like another one.
      scales: { x: { time: false }, y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [{ ...axis, label: this.words.time, labelSize: 20 }, { ...axis, size: 64, values: (_plot, values) => values.map((value) => this.numbers.format(value)) }],
      series: [
        { label: this.words.time, value: shown },
        ...this.arms.map((arm) => ({
          label: this.words[arm] ?? arm, value: shown, stroke: colour(this.figure, `line-${arm}`), width: 1.5,
          dash: DASHES[arm], points: { show: true, size: 5 },
        })),
      ],
      cursor: { drag: { x: false, y: false } },
    }, this.data, this.place);
  }

  width() {
    return Math.max(240, Math.floor(this.figure.clientWidth));
  }

  fit() {
    if (this.plot && !this.figure.hidden) this.plot.setSize({ width: this.width(), height: HEIGHT });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const last = this.data[0].length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || last < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.at = Math.min(last, Math.max(0, this.at + steps[event.key]));
    const x = this.data[0][this.at];
    this.plot?.setCursor({ left: this.plot.valToPos(x, "x"), top: HEIGHT / 3 });
    const values = this.arms.map((arm, index) => [arm, this.data[index + 1][this.at]]).filter(([, value]) => value != null);
    const words = values.map(([arm, value]) => `${this.words[arm] ?? arm} ${this.numbers.format(value)} ${this.measure.unit}`);
    this.said.textContent = `${this.numbers.format(x)} s: ${words.join(", ") || "–"}`;
  }

  tabulate() {
    if (!this.twin.open) return;
    this.scroll.replaceChildren();
    const table = element(this.scroll, "table");
    const head = element(element(table, "thead"), "tr");
    const names = [`${this.words.time}`, ...this.arms.map((arm) => `${this.words[arm] ?? arm}, ${this.measure.unit}`)];
    for (const name of names) element(head, "th", { scope: "col", class: "number" }, name);
    const body = element(table, "tbody");
    for (let row = 0; row < Math.min(MOST_ROWS, this.data[0].length); row += 1) {
      const line = element(body, "tr");
      this.data.forEach((column, index) => {
        const value = column[row];
        const attributes = index === 0 ? { scope: "row", class: "number" } : { class: "number" };
        element(line, index === 0 ? "th" : "td", attributes, value == null ? "" : this.numbers.format(value));
      });
    }
  }
}

/** All pictures of a run. */
export class Charts {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.path = root.dataset.series ?? "";
    const words = root.dataset;
    const numbers = new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 4 });
    this.chosen = "";
    this.traces = /** @type {Trace[]} */ ([]);
    const label = element(root, "label", { class: "shown" }, words.what);
    this.select = /** @type {HTMLSelectElement} */ (element(label, "select"));
    this.select.addEventListener("change", () => { this.chosen = this.select.value; this.show(); });
    const measures = [
      { key: "ttfb_p50_ms", kind: "latency", title: words.ttfb ?? "", unit: "ms" },
      { key: "connections_per_s", kind: "connection_rate", title: words.connections ?? "", unit: "1/s" },
      { key: "requests_per_s", kind: "capacity", title: words.requests ?? "", unit: "1/s" },
      { key: "mbit_per_s", kind: "capacity", title: words.throughput ?? "", unit: "Mbit/s" },
    ];
    const grid = element(root, "div", { class: "charts" });
    this.charts = measures.map((measure) => new Chart(grid, measure, words, numbers));
    let waiting = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => this.charts.forEach((chart) => chart.fit()));
    }).observe(grid);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.charts.forEach((chart) => chart.plot && chart.draw()));
  }

  /** Asks for the series and shows it. */
  async renew() {
    const answer = await fetch(this.path, { headers: { accept: "application/json" } });
    if (!answer.ok) return;
    this.traces = (await answer.json()).traces;
    this.offer();
  }

  /**
   * Draws a second that was measured just now, until the series has it.
   * @param {{protocol: string, object: string, kind: string, arm: string, at_ms: number, length_us: number, connections: number,
   *   succeeded: number, failed: number, body_bytes: number, ttfb_p50_us: number | null}} second
   */
  add(second) {
    const { protocol, object, kind, arm } = second;
    const [at, length] = [second.at_ms / 1000, second.length_us / 1e6];
    if (!(length > 0)) return;
    const same = (/** @type {Trace} */ it) => it.protocol === protocol && it.object === object && it.kind === kind && it.arm === arm;
    let trace = this.traces.find(same);
    if (!trace) {
      trace = { protocol, object, kind, arm, joined: 1, at_s: [], connections_per_s: [], requests_per_s: [], failed_per_s: [], mbit_per_s: [], ttfb_p50_ms: [] };
      this.traces.push(trace);
    }
    // What the series has already.
    if ((trace.at_s.at(-1) ?? -1) >= at - 0.0005) return;
    trace.at_s.push(at);
    trace.connections_per_s.push(second.connections / length);
    trace.requests_per_s.push(second.succeeded / length);
    trace.failed_per_s.push(second.failed / length);
    trace.mbit_per_s.push((second.body_bytes * 8) / 1e6 / length);
    trace.ttfb_p50_ms.push(second.ttfb_p50_us == null ? null : second.ttfb_p50_us / 1000);
    this.offer();
  }

  /** Lets choose among what there is, and shows it. */
  offer() {
    const pairs = [...new Set(this.traces.map((trace) => `${trace.protocol} ${trace.object}`))];
    if (pairs.length === 0) return;
    if (!pairs.includes(this.chosen)) this.chosen = pairs[0];
    if (pairs.length !== this.select.options.length) {
      this.select.replaceChildren();
      for (const pair of pairs) element(this.select, "option", { value: pair }, pair);
    }
    this.select.value = this.chosen;
    this.root.hidden = false;
    this.show();
  }

  show() {
    const own = this.traces.filter((trace) => `${trace.protocol} ${trace.object}` === this.chosen);
    for (const chart of this.charts) chart.show(own);
  }
}
