// The requests of the page. A key, where one is needed, lives in this tab's session storage and nowhere else.

const KEY = "drn.admin.key";
const PATIENCE = 8000; // milliseconds; the server gives up on a slow query before that and says so
const ROLLBACK_PATIENCE = 15000; // likewise; the server waits up to ten seconds for a learner at work

export class KeyNeeded extends Error {}
export class Refused extends Error {}
export class NotThere extends Refused {}
export class Unanswered extends Error {}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const dropKey = () => sessionStorage.removeItem(KEY);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

const ask = async (path, options = {}, patience = PATIENCE) => {
  const headers = { Accept: "application/json", ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(patience) }).catch((error) => {
    throw new Unanswered(error.message);
  });
  if (response.status === 204) return null;
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  const said = problem.detail || problem.title || `The service answered ${response.status}.`;
  if (response.status === 401 || response.status === 403) throw new KeyNeeded(said);
  throw new (response.status === 404 ? NotThere : Refused)(said);
};

export const figures = (hours) => ask(`admin/data?hours=${hours}`);
export const decision = (id) => ask(`decisions/${encodeURIComponent(id)}`);
export const titled = (piece) => ask(`articles?title=${encodeURIComponent(piece)}`).then(({ articles }) => articles);
export const withdraw = (id) => ask(`articles/${encodeURIComponent(id)}`, { method: "DELETE" });
const posting = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
export const setRule = (rule) => ask("rules", posting(rule));
export const endRule = (id) => ask(`rules/${id}`, { method: "DELETE" });
export const rollback = (to) => ask("admin/rollback", posting({ to }), ROLLBACK_PATIENCE);
export const runNow = (update) => ask(`admin/jobs/${update}`, posting({}));
