// Taking an article down: asked about in a dialog, done by DELETE /articles/{id}, and remembered until the figures must know.

import { KeyNeeded, Refused, withdraw } from "./api.js";
import { at, html } from "./element.js";

const MEMORY = 30_000; // milliseconds: the figures are never so far behind, and the CMS may publish the article again

/** The button of one article. Whoever shows it hands its clicks to `TakeDown.heed`. */
export const takeDownButton = (id, title) => html("button", { type: "button", class: "small", "data-article": id, "data-title": title, "aria-label": `Take down ${title}` }, "Take down");

export const buttonOf = (host, id, name = "article") => [...host.querySelectorAll(`[data-${name}]`)].find((button) => button.dataset[name] === id);

/** Draws into `host` again, and leaves the focus on the article (or what else `name` says) that had it. */
export const keepingFocus = (host, draw, name = "article") => {
  const held = host.contains(document.activeElement) ? document.activeElement.dataset[name] : undefined;
  draw();
  if (held !== undefined) buttonOf(host, held, name)?.focus({ preventScroll: true });
};

export class TakeDown {
  constructor({ askKey, done }) {
    this.gone = new Map(); // taken down here: id → until when that is remembered
    this.asked = null;
    at("takedown-confirm").addEventListener("click", (event) => {
      event.preventDefault();
      this.confirm(askKey, done);
    });
    at("takedown").addEventListener("close", () => buttonOf(this.asked.host, this.asked.id)?.focus({ preventScroll: true }));
  }

  /** Asks about the article whose button in `host` is clicked. */
  heed(host) {
    host.addEventListener("click", (event) => {
      const button = event.target.closest("[data-article]");
      if (button) this.ask(host, button.dataset.article, button.dataset.title);
    });
  }

  ask(host, id, title) {
    this.asked = { host, id };
    at("takedown-title").textContent = `Take down “${title}”?`;
    this.trouble(null);
    at("takedown").showModal();
  }

  async confirm(askKey, done) {
    const { id } = this.asked;
    at("takedown-confirm").disabled = true;
    try {
      await withdraw(id);
      this.gone.set(id, performance.now() + MEMORY);
      at("takedown").close();
      done();
    } catch (error) {
      if (error instanceof KeyNeeded) askKey(error.message);
      else this.trouble(error instanceof Refused ? error.message : "The service did not answer. Nothing is known to have changed; look at the list before trying again.");
    } finally {
      at("takedown-confirm").disabled = false;
    }
  }

  trouble(text) {
    at("takedown-trouble").textContent = text ?? "";
    at("takedown-trouble").hidden = !text;
  }

  knows(id) {
    return this.gone.get(id) > performance.now();
  }
}
