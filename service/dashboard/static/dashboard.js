// One document is asked for every two seconds, and every part of the page is a function of the newest one.

import { dropKey, figures, hasKey, keepKey, KeyNeeded, Refused, rollback, Unanswered } from "./api.js";
import { chart, together } from "./charts.js";
import { DecisionCard } from "./decision.js";
import { at, html, show } from "./element.js";
import { count, duration, moment, percent, plural, signed } from "./format.js";
import { Lineage } from "./lineage.js";
import { articles, holdback, jobs, lead, liveDuel, returns } from "./panels.js";
import { Rules } from "./rules.js";
import { RunNow } from "./run.js";
import { TakeDown } from "./takedown.js";

const PERIOD = 2000; // milliseconds between requests
const STALE = 7; // seconds without an answer after which the figures are no longer called live
const OFFLINE = 30;

const state = { data: null, received: null, trouble: null, locked: false, timer: null, asked: 0 };

const hours = () => Number(document.querySelector('#span input:checked').value);

// Charts

const linked = together("outcomes");
const moved = { outcomes: null, traffic: null };
const charts = {
  mean: chart("mean", at("wins-mean"), (i) => hover("outcomes", i), linked),
  bars: chart("bars", at("wins-bars"), (i) => hover("outcomes", i), linked),
  rate: chart("rate", at("ctr"), (i) => hover("traffic", i)),
};

const hover = (which, i) => {
  if (moved[which] === i || state.data === null) return;
  moved[which] = i;
  (which === "outcomes" ? readOutcomes : readTraffic)(state.data);
};

const column = (rows, name) => rows.map((row) => row[name]);

const span = (data, rows) => {
  const first = rows.length > 0 ? Math.max(rows[0].at, data.window.since) : data.window.since;
  return [first, Math.max(data.now, first + data.window.bucket)];
};

const belief = (point) => {
  if (point.low > 0) return "The band lies above zero: explore is better, however often one looks.";
  if (point.high < 0) return "The band lies below zero: current is better, however often one looks.";
  return "The band includes zero: no difference is established yet.";
};

const readOutcomes = (data) => {
  const { buckets } = data.outcomes;
  if (buckets.length === 0) return show(at("wins-readout"));
  const pointed = buckets[moved.outcomes ?? -1];
  const sum = (name) => (pointed ? pointed[name] : buckets.reduce((total, bucket) => total + bucket[name], 0));
  const mean = (pointed ?? buckets.at(-1)).mean;
  return show(
    at("wins-readout"),
    pointed ? `${moment(pointed.at, data.now - buckets[0].at)}: ` : "in all: ",
    html("b", { class: "in-explore" }, count(sum("wins"))),
    " explore, ",
    html("b", { class: "in-current" }, count(sum("losses"))),
    ` current, ${plural(sum("ties"), "tie")}`,
    mean === null ? "" : ` · mean so far ${signed(mean, 3)}`,
  );
};

const drawOutcomes = (data) => {
  const { buckets, level } = data.outcomes;
  const any = buckets.length > 0;
  const known = buckets.findLast((bucket) => bucket.low !== null);
  at("wins-mean").hidden = !known;
  at("wins-bars").hidden = !any;
  at("wins-empty").hidden = any;
  show(at("wins-empty"), `No list has been settled in this time span. A list settles ${duration(data.settings.feedback_window)} after it was served, at the next minor update.`);
  show(at("wins-foot"));
  readOutcomes(data);
  if (!any) return;
  const times = column(buckets, "at");
  const range = span(data, buckets);
  if (known) charts.mean.set([times, column(buckets, "low"), column(buckets, "high"), column(buckets, "mean")], range);
  charts.bars.set([times, column(buckets, "wins"), buckets.map((bucket) => -bucket.losses)], range);
  const total = (name) => buckets.reduce((sum, bucket) => sum + bucket[name], 0);
  at("wins-bars").setAttribute("aria-label", `Wins over time: explore ${total("wins")}, current ${total("losses")}, ${total("ties")} ties.`);
  if (!known) return show(at("wins-foot"), "The mean outcome and its band begin with the first session that is over and had clicks.");
  at("wins-mean").setAttribute("aria-label", `Mean outcome of a session so far ${signed(known.mean, 3)}, band from ${signed(known.low, 3)} to ${signed(known.high, 3)}. ${belief(known)}`);
  show(at("wins-foot"), `${belief(known)} Mean outcome of a reader's session since ${moment(data.outcomes.since, Infinity)}, over ${plural(known.sessions, "session")} with clicks, with a ${percent(level, 0)} band that stays valid while you watch.`);
};

/** The buckets that are over: the one under way has lists whose clicks are still to come, and would look like a fall. */
const finished = (data) => (data.traffic.length > 1 ? data.traffic.slice(0, -1) : data.traffic);

const readTraffic = (data) => {
  const rows = finished(data);
  const i = Math.min(moved.traffic ?? rows.length - 1, rows.length - 1);
  if (i < 0) return show(at("ctr-readout"));
  const row = rows[i];
  const when = moved.traffic === null ? "latest" : moment(row.at, data.now - rows[0].at);
  return show(at("ctr-readout"), `${when}: `, html("b", {}, row.shown > 0 ? percent(row.clicks / row.shown) : "–"), ` of ${count(row.shown)} shown`);
};

const drawTraffic = (data) => {
  const rows = finished(data);
  const any = rows.some((row) => row.shown > 0);
  at("ctr").hidden = !any;
  at("ctr-empty").hidden = any;
  show(at("ctr-empty"), "No list has been served in this time span.");
  if (!any) return show(at("ctr-readout"));
  readTraffic(data);
  charts.rate.set([column(rows, "at"), rows.map((row) => (row.shown > 0 ? row.clicks / row.shown : null))], span(data, rows));
  at("ctr").setAttribute("aria-label", `Click-through rate over time, ${percent(data.totals.clicks / data.totals.shown)} in all.`);
};

// Rollback

const trouble = (id, text) => {
  at(id).textContent = text ?? "";
  at(id).hidden = !text;
};

let target = null;

const askRollback = (id) => {
  target = id;
  at("rollback-title").textContent = `Roll back to version ${id}?`;
  at("rollback-text").textContent = `Its weights become a new version at the end of the line and are served within a second. Nothing is erased, the running duel ends undecided, and learning goes on from there.`;
  trouble("rollback-trouble", null);
  at("rollback").showModal();
};

at("rollback-confirm").addEventListener("click", async (event) => {
  event.preventDefault();
  at("rollback-confirm").disabled = true;
  try {
    await rollback(target);
    at("rollback").close();
    lineage.chosen = null;
    poll();
  } catch (error) {
    if (error instanceof KeyNeeded) askKey(error.message);
    else trouble("rollback-trouble", error instanceof Refused ? error.message : "The service did not answer. Nothing is known to have changed; look at the line before trying again.");
  } finally {
    at("rollback-confirm").disabled = false;
  }
});

const lineage = new Lineage(askRollback);

// Key

const askKey = (said) => {
  trouble("key-trouble", hasKey() ? said : null);
  dropKey();
  at("rollback").close();
  at("takedown").close();
  at("rule-end").close();
  if (!at("key").open) at("key").showModal();
};

at("key").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(at("key-input").value.trim());
  at("key-input").value = "";
  at("key").close();
  poll();
});

at("key").addEventListener("close", () => {
  if (!hasKey()) state.trouble = "This service needs an API key. Reload the page to enter one.";
  connection();
});

const looked = new DecisionCard((said) => askKey(said));

const takeDown = new TakeDown({
  askKey: (said) => askKey(said),
  done: () => {
    articles(state.data, (id) => takeDown.knows(id));
    looked.refresh();
    poll();
  },
});
for (const list of ["articles", "decision"]) takeDown.heed(at(list));

const rules = new Rules({ askKey: (said) => askKey(said), done: () => poll() });

const running = new RunNow({ askKey: (said) => askKey(said), done: () => poll() });

// The connection, as it is

const NAMES = { connecting: "Connecting", live: "Live", stale: "Not updating", offline: "Offline", locked: "Locked" };

const connection = () => {
  const age = state.received === null ? Infinity : (performance.now() - state.received) / 1000;
  const old = age > STALE || state.trouble !== null;
  let name = "live";
  if (state.locked) name = "locked";
  else if (state.received === null && state.trouble === null) name = "connecting";
  else if (age > OFFLINE) name = "offline";
  else if (old) name = "stale";
  at("connection").dataset.state = name;
  show(at("connection-state"), NAMES[name]);
  show(at("connection-age"), name === "live" || state.received === null ? "" : `figures are ${duration(Math.max(1, age))} old`);
  at("main").toggleAttribute("data-old", name === "offline" && state.received !== null);
  const explained = name === "live" || name === "connecting" ? state.data?.refused ?? (state.data?.fault ? `A fault of the machine: ${state.data.fault}.` : null) : state.trouble;
  if (at("notice").textContent !== (explained ?? "")) trouble("notice", explained);
};

const draw = (data) => {
  lead(data);
  drawOutcomes(data);
  liveDuel(data);
  holdback(data);
  lineage.set(data);
  drawTraffic(data);
  returns(data);
  articles(data, (id) => takeDown.knows(id));
  rules.set(data);
  jobs(data);
  running.draw(data);
  at("main").setAttribute("aria-busy", "false");
};

/** Words for an error. One of this page's own is told of in the console as well. */
const explain = (error) => {
  if (error instanceof Refused) return error.message;
  if (error instanceof Unanswered) return "The service does not answer. Trying again.";
  if (!(error instanceof SyntaxError)) console.error(error);
  return `This page could not read the figures (${error.message}).`;
};

const poll = async () => {
  clearTimeout(state.timer);
  const asked = ++state.asked;
  try {
    const data = await figures(hours());
    if (asked !== state.asked) return; // a newer request was made meanwhile
    Object.assign(state, { data, received: performance.now(), trouble: null, locked: false });
    draw(data);
    looked.resume();
  } catch (error) {
    if (asked !== state.asked) return;
    if (error instanceof KeyNeeded) {
      Object.assign(state, { locked: true, trouble: null });
      connection();
      return askKey(error.message);
    }
    state.trouble = explain(error);
  }
  connection();
  if (!document.hidden) state.timer = setTimeout(poll, PERIOD);
};

at("span").addEventListener("change", poll);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : poll()));
setInterval(connection, 1000);
poll();
