// Editors' rules: the running ones, a form that sets one by POST /rules, and an end to one, asked about in a dialog.

import { endRule, KeyNeeded, Refused, setRule, titled } from "./api.js";
import { at, html, show } from "./element.js";
import { asSet, iso, plural, stamp } from "./format.js";
import { buttonOf, keepingFocus } from "./takedown.js";

// What an editor counts from 1 the service counts from 0.
const KINDS = {
  pin: {
    label: "Place",
    limits: { min: 1, max: 100, step: 1 },
    body: (number) => ({ position: number - 1 }),
    said: ({ position }) => `Pinned at ${position + 1}`,
    meaning: "A pin holds the article at this place of every list, outside every duel. It joins lists that did not ask for it. Lists that are too short, and requests that pin something else there or exclude it, go without.",
  },
  cap: {
    label: "Times per reader",
    limits: { min: 1, max: 65_535, step: 1 },
    body: (number) => ({ most: number }),
    said: ({ most }) => `At most ${plural(most, "time")} per reader`,
    meaning: "A cap leaves the article out once a reader has been shown it so often, on whatever surface. Pinned it stays, an anonymous reader has no count, and no list becomes empty by it.",
  },
  boost: {
    label: "Added to scores",
    limits: { min: -100, max: 100, step: "any" },
    body: (number) => ({ boost: number }),
    said: ({ boost }) => `Boost ${asSet(boost)}`,
    meaning: "A boost is added to both networks’ scores of the article; below 0 it is a brake. One decision, below, shows how far scores lie apart.",
  },
};

const PAUSE = 200; // milliseconds without a letter after which a title is looked for
const SHORTEST = 2; // letters of it

const where = ({ surface }) => surface ?? "every surface";
const called = (rule) => `${KINDS[rule.kind].said(rule)}: ${rule.title}`;

const row = (rule) =>
  html(
    "tr",
    {},
    html("td", { class: "what" }, KINDS[rule.kind].said(rule)),
    html("td", { class: "article" }, html("span", { class: "name" }, rule.title), html("span", { class: "of" }, rule.live ? rule.article_id : `${rule.article_id} · not live now`)),
    html("td", { class: "surface" }, where(rule)),
    html("td", { class: "until" }, rule.ends_at === null ? "no end" : html("time", { datetime: iso(rule.ends_at) }, `until ${stamp(rule.ends_at)}`)),
    html("td", { class: "act" }, html("button", { type: "button", class: "small", "data-rule": String(rule.id), "aria-label": `End “${called(rule)}”` }, "End")),
  );

export class Rules {
  constructor({ askKey, done }) {
    this.data = null;
    this.ended = new Set(); // the ids of those that were ended here, which the figures may not know yet
    this.asked = null;
    this.found = null; // articles by what was typed; null: the newest ones
    this.typing = null;
    at("rule-kind").addEventListener("change", () => this.explain());
    at("rule-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.add(askKey, done);
    });
    at("rule-article").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.look(), PAUSE);
    });
    at("rules").addEventListener("click", (event) => {
      const button = event.target.closest("[data-rule]");
      if (button) this.ask(Number(button.dataset.rule));
    });
    at("rule-end-confirm").addEventListener("click", (event) => {
      event.preventDefault();
      this.confirm(askKey, done);
    });
    at("rule-end").addEventListener("close", () => (buttonOf(at("rules"), String(this.asked.id), "rule") ?? at("rules-card")).focus({ preventScroll: true }));
    this.explain();
  }

  set(data) {
    this.data = data;
    this.draw();
  }

  get running() {
    return this.data.rules.filter((rule) => !this.ended.has(rule.id));
  }

  draw() {
    const rules = this.running;
    at("rules").hidden = rules.length === 0;
    at("rules-empty").hidden = rules.length > 0;
    show(at("rules-readout"), rules.length > 0 ? `${plural(rules.length, "rule")} for every list that ${rules.length === 1 ? "it concerns" : "they concern"}` : "");
    keepingFocus(at("rules"), () => show(at("rules").tBodies[0], rules.map(row)), "rule");
    this.offer();
  }

  offer() {
    show(at("rule-articles"), (this.found ?? this.data.newest).map(({ id, title }) => html("option", { value: id, label: title })));
  }

  // What was typed may be an id or a piece of a title. Whatever goes wrong, an id can still be typed.
  async look() {
    const piece = at("rule-article").value.trim();
    const found = piece.length >= SHORTEST ? await titled(piece).catch(() => null) : null;
    if (at("rule-article").value.trim() !== piece) return; // more was typed meanwhile
    this.found = found?.length ? found : null;
    this.offer();
  }

  explain() {
    const { label, limits, meaning } = KINDS[at("rule-kind").value];
    at("rule-number-label").textContent = label;
    for (const [name, value] of Object.entries(limits)) at("rule-number").setAttribute(name, value);
    at("rule-meaning").textContent = meaning;
  }

  wanted() {
    const kind = at("rule-kind").value;
    const ends = at("rule-ends").value;
    return {
      kind,
      article_id: at("rule-article").value.trim(),
      surface: at("rule-surface").value.trim() || null,
      ends_at: ends ? new Date(ends).toISOString() : null,
      ...KINDS[kind].body(at("rule-number").valueAsNumber),
    };
  }

  async add(askKey, done) {
    at("rule-said").textContent = "";
    this.trouble("rule-trouble", null);
    at("rule-set").disabled = true;
    try {
      const rule = await setRule(this.wanted());
      at("rule-form").reset();
      this.look();
      at("rule-kind").value = rule.kind;
      at("rule-said").textContent = `${called(rule)}. It holds for ${where(rule)} within a second.`;
      done();
    } catch (error) {
      if (error instanceof KeyNeeded) askKey(error.message);
      else this.trouble("rule-trouble", error instanceof Refused ? error.message : "The service did not answer. Look at the rules before trying again.");
    } finally {
      at("rule-set").disabled = false;
    }
  }

  ask(id) {
    this.asked = this.running.find((rule) => rule.id === id) ?? this.asked;
    at("rule-end-title").textContent = `End “${called(this.asked)}”?`;
    this.trouble("rule-end-trouble", null);
    at("rule-end").showModal();
  }

  async confirm(askKey, done) {
    const { id } = this.asked;
    at("rule-end-confirm").disabled = true;
    try {
      await endRule(id);
      this.ended.add(id);
      at("rule-said").textContent = `Ended: ${called(this.asked)}.`;
      this.draw();
      at("rule-end").close();
      done();
    } catch (error) {
      if (error instanceof KeyNeeded) askKey(error.message);
      else this.trouble("rule-end-trouble", error instanceof Refused ? error.message : "The service did not answer. Nothing is known to have changed; look at the rules before trying again.");
    } finally {
      at("rule-end-confirm").disabled = false;
    }
  }

  trouble(id, text) {
    at(id).textContent = text ?? "";
    at(id).hidden = !text;
  }
}
