// One decision: what was served under a request id, to whom, by which version, and whether its row gives the same list again.

import { decision, KeyNeeded, NotThere, Refused } from "./api.js";
import { at, html, show } from "./element.js";
import { asSet, count, plural, stamp } from "./format.js";
import { keepingFocus, takeDownButton } from "./takedown.js";

const PARAMETER = "decision"; // of the page's address: /admin?decision=REQUEST_ID

const served = (found) => {
  const places = [found.context.device, found.context.surface].filter(Boolean).join(", ");
  const words = ["Served ", html("time", { datetime: found.at }, stamp(Date.parse(found.at) / 1000)), found.user_id === null ? " to an anonymous reader" : [" to reader ", html("b", {}, found.user_id)]];
  if (places) words.push(` (${places})`);
  words.push(" by version ", html("b", {}, String(found.model_version)), `: ${count(found.items.length)} of ${plural(found.candidates.length, "candidate")}.`);
  if (!found.explore) words.push(" Explore had no part in it.");
  if (found.fallback !== null) words.push(` Not as it was asked for: ${found.fallback}.`);
  if (found.unknown.length > 0) words.push(` Could not be ranked: ${found.unknown.join(", ")}.`);
  return html("p", {}, words);
};

const PROOF = {
  true: ["published", "Derived again from its row, the list is the same."],
  false: ["failed", "Derived again from its row, it is not the same"],
  null: ["skipped", "It cannot be derived again"],
};

const finding = ({ reproduced, reason }) => (reason === null ? PROOF[reproduced][1] : `${PROOF[reproduced][1]}: ${reason}.`);

const proof = (found) => html("p", { class: "proof" }, html("span", { class: `outcome ${PROOF[found.reproduced][0]}` }, html("span", {}, finding(found))));

const figure = (name, value, digits) => html("td", { class: "number", "data-name": name }, value === null ? "–" : value.toFixed(digits).replace("-", "−"));

const row = (item) =>
  html(
    "tr",
    {},
    html("td", { class: "place" }, String(item.position + 1)),
    html("td", { class: "article" }, html("span", { class: "name" }, item.title ?? item.article_id), html("span", { class: "of" }, [item.title === null ? "no longer stored" : item.article_id, item.boost ? `boost ${asSet(item.boost)}` : null].filter(Boolean).join(" · "))),
    figure("current", item.current_score, 3),
    figure("explore", item.explore_score, 3),
    figure("propensity", item.propensity, 3),
    figure("credit", item.credit, 2),
    html("td", { class: "reason" }, item.reason),
    html("td", { class: "clicked" }, item.clicked ? "clicked" : ""),
    html("td", { class: "act" }, item.withdrawn ? "taken down" : item.title === null ? "" : takeDownButton(item.article_id, item.title)),
  );

const HEADS = [["", "Place"], ["", "Article"], ["number", "Current"], ["number", "Explore"], ["number", "Propensity"], ["number", "Credit"], ["", "Why"], ["", "Click"], ["", html("span", { class: "unseen" }, "Take down")]];

const table = (items) =>
  html(
    "table",
    { class: "slots" },
    html("caption", { class: "unseen" }, "The list as it was shown"),
    html("thead", {}, html("tr", {}, HEADS.map(([look, name]) => html("th", { scope: "col", class: look }, typeof name === "string" ? name : name.cloneNode(true))))),
    html("tbody", {}, items.map(row)),
  );

const FOOT = "Current and explore: the article's score by each network; an editor's boost was added to both. Propensity: how likely it was in this place, given those above. Credit: explore's share of a click here; ½ speaks for neither.";

const shown = (found) => [served(found), proof(found), found.items.length > 0 ? [table(found.items), html("p", { class: "foot" }, FOOT)] : html("p", { class: "empty" }, "The list was empty.")];

const explained = (id, error) => {
  if (error instanceof NotThere) return `No decision ${id} is stored. Nothing was served under this id, or it is older than what is kept, or it was erased with its reader.`;
  return error instanceof Refused ? error.message : "The service did not answer. Try again.";
};

/** The card. `askKey` is called where the service wants a key; `resume` then looks again. */
export class DecisionCard {
  constructor(askKey) {
    this.askKey = askKey;
    this.waiting = new URLSearchParams(location.search).get(PARAMETER); // what to look up once there is a key, or none is needed
    this.found = null;
    at("decision-id").value = this.waiting ?? "";
    at("decision-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.look(at("decision-id").value.trim());
    });
  }

  resume() {
    if (this.waiting) this.look(this.waiting);
  }

  async look(id) {
    this.waiting = null;
    if (!id) return;
    this.asked = id;
    at("decision-card").setAttribute("aria-busy", "true");
    this.trouble(null);
    try {
      const found = await decision(id);
      if (this.asked === id) this.set(found);
    } catch (error) {
      if (this.asked !== id) return;
      this.set(null);
      if (!(error instanceof KeyNeeded)) return this.trouble(explained(id, error));
      this.waiting = id;
      this.askKey(error.message);
    } finally {
      if (this.asked === id) at("decision-card").setAttribute("aria-busy", "false");
    }
  }

  set(found) {
    this.found = found;
    if (found !== null) history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({ [PARAMETER]: found.request_id })}`);
    this.draw();
  }

  /** The same decision again, after one of its articles was taken down. */
  refresh() {
    if (this.found !== null) this.look(this.found.request_id);
  }

  draw() {
    keepingFocus(at("decision"), () => show(at("decision"), this.found === null ? [] : shown(this.found)));
    at("decision-said").textContent = this.found === null ? "" : finding(this.found);
  }

  trouble(text) {
    at("decision-trouble").textContent = text ?? "";
    at("decision-trouble").hidden = !text;
  }
}
