// The versions as a line of descent: what serves is the trunk, each duel is a branch that joins the trunk again (explore was
// promoted), ends beside it (explore was reset) or fades (a major update or a rollback ended the duel).

import { ago, count, moment, time } from "./format.js";
import { at, html, show, svg } from "./element.js";

const STEP = 34;
const EDGE = 30;
const TOP = 22;
const TRUNK = 62;
const HEIGHT = 104;

export const KINDS = {
  initial: "the first version",
  minor: "a minor update",
  major: "a major update",
  rollback: "a rollback",
};

const ENDINGS = {
  explore_won: "With it explore was promoted to current.",
  current_won: "With it explore was reset to current.",
  abandoned: "It ended a running duel before readers decided it.",
};

/** Runs of versions that belong to one duel: from the version that opened it to the one that ended it (or the newest). */
const duels = (versions) => {
  const found = [];
  versions.forEach((version, i) => {
    const last = found.at(-1);
    if (last && last.id === version.duel) return;
    if (last) Object.assign(last, { to: i, verdict: version.verdict });
    found.push({ id: version.duel, from: i, to: null, verdict: null });
  });
  return found;
};

const x = (i) => EDGE + i * STEP;

const branch = (duel, newest) => {
  const from = x(duel.from);
  const bend = STEP * 0.55;
  const up = `M${from} ${TRUNK} C${from + bend * 0.7} ${TRUNK} ${from + bend * 0.3} ${TOP} ${from + bend} ${TOP}`;
  if (duel.to === null) {
    const end = x(newest) + STEP * 0.7;
    return [svg("path", { class: "branch", d: `${up} H${end}` }), svg("path", { class: "branch open", d: `M${end + 6} ${TOP} h18` })];
  }
  const end = x(duel.to);
  const stop = Math.max(end - bend, from + bend);
  if (duel.verdict === "explore_won") {
    const down = `C${end - bend * 0.3} ${TOP} ${end - bend * 0.7} ${TRUNK} ${end} ${TRUNK}`;
    return [svg("path", { class: "branch", d: `${up} H${stop} ${down}` })];
  }
  const cross = `M${stop - 4} ${TOP - 4} l8 8 m0 -8 l-8 8`;
  const path = svg("path", { class: `branch${duel.verdict === "current_won" ? "" : " left"}`, d: `${up} H${stop}` });
  return duel.verdict === "current_won" ? [path, svg("path", { class: "end", d: cross })] : [path];
};

const back = (version, i, places) => {
  const to = places.get(version.restored);
  if (version.kind !== "rollback" || to === undefined) return null;
  const low = TRUNK + 26;
  return svg("path", { class: "back", d: `M${x(i)} ${TRUNK + 8} C${x(i)} ${low} ${x(i)} ${low} ${x(i) - 12} ${low} H${x(to) + 12} C${x(to)} ${low} ${x(to)} ${low} ${x(to)} ${TRUNK + 8}` });
};

const mark = (version) => {
  const { kind } = version;
  if (kind === "rollback") return svg("path", { class: "mark rollback", d: "M0 -7 L7 0 L0 7 L-7 0 Z" });
  return svg("circle", { class: `mark ${kind}`, r: kind === "major" ? 7 : kind === "initial" ? 4 : 4.5 });
};

const name = (version, served) =>
  [`Version ${version.id}, ${version.automatic ? "an automatic rollback" : KINDS[version.kind]}`, version.verdict === "explore_won" && "explore promoted", version.verdict === "current_won" && "explore reset", version.id === served && "served now"]
    .filter(Boolean)
    .join(", ");

const node = (version, i, { served, selected, last }) => {
  const chosen = version.id === selected;
  const classes = ["node", version.verdict === "explore_won" && "promoted", version.id === served && "served"].filter(Boolean).join(" ");
  const labelled = chosen || version.kind !== "minor" || i === last || version.id % 5 === 0;
  return svg(
    "g",
    { class: classes, role: "option", tabindex: chosen ? 0 : -1, "aria-selected": chosen, "aria-label": name(version, served), transform: `translate(${x(i)} ${TRUNK})`, "data-version": version.id },
    svg("rect", { class: "hit", x: -STEP / 2, y: -TRUNK, width: STEP, height: HEIGHT }),
    svg("circle", { class: "ring", r: 14 }),
    svg("circle", { class: "halo", r: 11 }),
    mark(version),
    labelled ? svg("text", { y: 36, "text-anchor": "middle" }, String(version.id)) : null,
  );
};

const sample = (label, ...shapes) => html("span", {}, svg("svg", { viewBox: "0 0 22 14", class: "sample", "aria-hidden": "true" }, ...shapes), label);

const legend = () => [
  sample("minor", svg("circle", { class: "mark", cx: 11, cy: 7, r: 4 })),
  sample("major", svg("circle", { class: "mark major", cx: 11, cy: 7, r: 5 })),
  sample("rollback", svg("path", { class: "mark rollback", d: "M11 1 l6 6 l-6 6 l-6 -6 Z" })),
  sample("explore promoted", svg("path", { class: "branch", d: "M1 2 H8 C14 2 14 12 20 12" })),
  sample("explore reset", svg("path", { class: "branch", d: "M1 7 H14" }), svg("path", { class: "end", d: "M12 4 l6 6 m0 -6 l-6 6" })),
];

const fact = (term, value) => html("div", {}, html("dt", {}, term), html("dd", {}, value));

const number = (value) => (Number.isInteger(value) ? count(value) : String(+value.toPrecision(4)).replace("-", "−"));

const story = (version, data) => {
  const words = [`Version ${version.id} is ${KINDS[version.kind]}`];
  if (version.restored) words.push(` that brought back version ${version.restored}${version.automatic ? " by itself, for current had lost to it in the hold-back" : ""}`);
  words.push(`, ${ago(version.at, data.now)}.`);
  if (version.verdict) words.push(` ${ENDINGS[version.verdict]}`);
  return words.join("");
};

const why = (version, served) => {
  if (version.id === served) return "Served now";
  if (!version.servable) return "Weights no longer kept";
  return "Roll back to this version";
};

const details = (version, data, onRollback) => {
  const served = data.served?.version;
  const facts = [fact("Made", html("time", {}, data.now - version.at > 86_400 ? moment(version.at, Infinity) : time(version.at)))];
  if (version.parent) facts.push(fact("Parent", String(version.parent)));
  facts.push(fact("Log read up to", count(version.watermark)));
  for (const [key, value] of Object.entries(version.metrics).slice(0, 6)) facts.push(fact(key.replaceAll("_", " "), number(value)));
  facts.push(fact("Digest", html("code", { title: version.digest }, version.digest.slice(0, 8))));
  const button = html("button", { type: "button", disabled: version.id === served || !version.servable ? "" : null }, why(version, served));
  button.addEventListener("click", () => onRollback(version.id));
  return [html("p", {}, story(version, data)), button, html("dl", {}, facts)];
};

/** Draws the line into #line and the chosen version into #version. */
export class Lineage {
  constructor(onRollback) {
    this.onRollback = onRollback;
    this.chosen = null; // null follows what is served
    this.data = null;
    this.host = at("line");
    show(at("line-legend"), legend());
    this.host.addEventListener("click", (event) => this.pick(event.target.closest("[data-version]")));
    this.host.addEventListener("keydown", (event) => this.key(event));
  }

  set(data) {
    const grew = this.data === null || this.data.versions.at(-1)?.id !== data.versions.at(-1)?.id;
    const followed = this.host.scrollLeft + this.host.clientWidth >= this.host.scrollWidth - 2 * STEP;
    this.data = data;
    this.draw();
    if (grew && followed) this.host.scrollLeft = this.host.scrollWidth;
  }

  draw() {
    const { versions, served } = this.data;
    const chosen = versions.find((version) => version.id === this.chosen) ?? versions.at(-1);
    const focused = this.host.contains(document.activeElement);
    if (chosen === undefined) return;
    const last = versions.length - 1;
    const width = x(last) + STEP * 2.2;
    const places = new Map(versions.map((version, i) => [version.id, i]));
    const marks = { served: served?.version, selected: chosen.id, last };
    show(
      this.host,
      svg(
        "svg",
        { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "listbox", "aria-label": "Versions, oldest first", "aria-orientation": "horizontal" },
        svg("path", { class: "trunk", d: `M${versions[0].parent ? 0 : x(0)} ${TRUNK} H${x(last)}` }),
        versions.map((version, i) => back(version, i, places)),
        duels(versions).map((duel) => branch(duel, last)),
        versions.map((version, i) => node(version, i, marks)),
      ),
    );
    const option = this.host.querySelector('[aria-selected="true"]');
    if (focused && document.activeElement !== option) option.focus({ preventScroll: true });
    const panel = at("version");
    const held = panel.contains(document.activeElement);
    const next = html("div", {}, details(chosen, this.data, this.onRollback));
    if (held && panel.querySelector("button")?.textContent === next.querySelector("button").textContent) return;
    panel.replaceChildren(...next.childNodes);
  }

  pick(target) {
    if (!target) return;
    this.chosen = Number(target.dataset.version);
    this.draw();
    const option = this.host.querySelector('[aria-selected="true"]');
    option.focus({ preventScroll: true });
    const left = Number(option.transform.baseVal[0].matrix.e);
    if (left < this.host.scrollLeft + EDGE) this.host.scrollLeft = left - 2 * EDGE;
    else if (left > this.host.scrollLeft + this.host.clientWidth - EDGE) this.host.scrollLeft = left - this.host.clientWidth + 2 * EDGE;
  }

  key(event) {
    const options = [...this.host.querySelectorAll("[data-version]")];
    const here = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const there = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: options.length - 1 }[event.key];
    if (there === undefined || !options[there]) return;
    event.preventDefault();
    this.pick(options[there]);
  }
}
