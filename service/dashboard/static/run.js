// Run now: a learner is asked for an update that does not wait for its time, and what comes of it is told.

import { KeyNeeded, Refused, runNow } from "./api.js";
import { at } from "./element.js";

const PATIENCE = 10; // seconds within which a learner that listens has begun
const REMEMBERED = 20; // seconds for which the end of a run is told here; the table tells it longer

const NAMES = { minor: "Minor update", major: "Major update" };

export class RunNow {
  constructor({ askKey, done }) {
    this.wish = null; // {name, job, behind, at, ended}
    at("run-now").addEventListener("click", async (event) => {
      const button = event.target.closest("[data-update]");
      if (!button || button.getAttribute("aria-disabled")) return;
      button.setAttribute("aria-disabled", "true"); // `disabled` would take the focus away
      await this.ask(button.dataset.update, askKey, done);
      button.removeAttribute("aria-disabled");
    });
  }

  async ask(update, askKey, done) {
    this.wish = null;
    this.say("");
    try {
      this.wish = { name: NAMES[update], at: performance.now(), ended: null, ...(await runNow(update)) };
      this.say(`${NAMES[update]} asked for.`);
      done();
    } catch (error) {
      if (error instanceof KeyNeeded) askKey(error.message);
      else this.say(error instanceof Refused ? `${error.message}.` : "The service did not answer. Look at the job runs before trying again.", true);
    }
  }

  /** Follows the run that was asked for through the figures. */
  draw(data) {
    if (this.wish === null) return;
    const { name, job, behind } = this.wish;
    const run = data.jobs.findLast((one) => one.job === job && one.id > behind);
    const waited = (performance.now() - this.wish.at) / 1000;
    if (!run) {
      if (waited > PATIENCE) this.say(`${name} asked for, but no learner has begun it. The learner's log may say why.`, true);
      return;
    }
    if (run.ended === null) return this.say(`${name} is running.`);
    this.wish.ended ??= performance.now();
    if (performance.now() - this.wish.ended > 1000 * REMEMBERED) {
      this.wish = null;
      return this.say("");
    }
    this.say(`${name} ${run.outcome}${run.reason ? `: ${run.reason}` : ""}.`, run.outcome === "failed");
  }

  say(words, bad = false) {
    const said = at("run-said");
    said.classList.toggle("trouble", bad);
    if (said.textContent !== words) said.textContent = words;
  }
}
