/** The contract's types as JavaScript sees them, and the helper's. `wit/policy.wit` says what each means. */

/** One model at one provider, as configured. Its number, used everywhere else, is its place in the catalogue. */
export interface Deployment {
  id: string;
  provider: string;
  model: string;
  region: string;
  capabilities: string[];
  labels: [key: string, value: string][];
}

/** What a policy is told once. The lists of names are open: a newer gateway adds to them. */
export interface Catalogue {
  deployments: Deployment[];
  routes: string[];
  signals: string[];
  facts: string[];
  failures: string[];
  outcomes: string[];
  endings: string[];
  /** A JSON object; `configure` gets it parsed as well. */
  settings: string;
}

export interface Request {
  decision: number;
  attempt: number;
  /** Uniform random in 0 ≤ seed < 2^31. */
  seed: number;
  /** Milliseconds since 1970-01-01 UTC. */
  nowMs: number;
}

export type StartRule = 'at-once' | 'on-failure' | 'hedge';

export interface Attempt {
  target: number;
  start: StartRule;
  delayMs: number;
  timeoutMs: number;
  overlay?: number;
}

export type Verdict =
  | { tag: 'pick'; val: number }
  | { tag: 'follow'; val: { attempts: Attempt[]; reason: number; tag: number } }
  | { tag: 'reject'; val: { status: number; retryAfterMs: number; reason: number } }
  | { tag: 'abstain' };

/** What a policy decides on. */
export interface Decision {
  request: Request;
  /** Numbers of the deployments that may be used; never empty. */
  candidates: number[];
  /** For each subscribed signal, one value for each candidate. */
  columns: number[][];
  /** One value for each subscribed fact. */
  facts: number[];
}

/** What became of one attempt. */
export interface FailedAttempt {
  target: number;
  /** A place in `catalogue.failures`. */
  kind: number;
  status: number;
  retryAfterMs: number;
  elapsedMs: number;
  tokensSent: number;
}

/** What became of attempts, told to `observe`. */
export interface Outcomes {
  rows: number;
  /** For each subscribed outcome field, one value for each row. */
  columns: number[][];
}

/** What a policy wants to be fed, and the texts that its verdicts name by their places. */
export interface Subscription {
  signals?: string[];
  facts?: string[];
  outcomes?: string[];
  reasons?: string[];
  overlays?: string[];
}

export interface Policy<Settings = Record<string, never>> extends Subscription {
  name: string;
  version: string;
  summary: string;
  /** JSON Schema of the settings, as an object or as text. Without one there are no settings. */
  settingsSchema?: object | string;
  /** Called once in each instance, before any decision. To throw refuses the configuration. */
  configure?(catalogue: Catalogue, settings: Settings): Subscription | void;
  /** A candidate, nothing for no opinion, or a verdict. */
  route?(decision: Decision): number | Verdict | null | undefined | void;
  /** The same after failures: the interface `fallback`. */
  afterFailure?(decision: Decision & { failures: FailedAttempt[] }): number | Verdict | null | undefined | void;
  /** The candidates to keep, at least one: the interface `filter`. */
  keep?(decision: Decision): number[];
  /** One number from 0 to 1 for each candidate: the interface `scorer`. */
  score?(decision: Decision): number[];
  /** Learns what became of attempts: the interface `observer`. */
  observe?(outcomes: Outcomes): void;
}

type Asked<Answer> = (request: Request, candidates: number[], signals: number[], facts: number[]) => Answer;

/** The interfaces to export, of the hooks that are there: `export const { lifecycle, router } = policy({...})`. */
export function policy<Settings = Record<string, never>>(policy: Policy<Settings>): {
  lifecycle: {
    describe(): { name: string; version: string; summary: string; settingsSchema: string };
    configure(catalogue: Catalogue): Required<Subscription>;
  };
  router: { route: Asked<Verdict> };
  filter: { keep: Asked<number[]> };
  scorer: { score: Asked<number[]> };
  fallback: {
    afterFailure(
      request: Request, failures: FailedAttempt[], candidates: number[], signals: number[], facts: number[],
    ): Verdict;
  };
  observer: { observe(rows: number, columns: number[]): void };
};

/** The candidate with the least value in the first column; of equals in the second, and so on; of equals the first. */
export function lowest(candidates: number[], ...columns: number[][]): number;

type More = Partial<Pick<Attempt, 'delayMs' | 'timeoutMs' | 'overlay'>>;

/** A try when the plan starts. */
export function atOnce(target: number, more?: More): Attempt;
/** A try when the one before it has failed. */
export function onFailure(target: number, more?: More): Attempt;
/** A try when the one before it has been silent for so long, or has failed. */
export function hedge(target: number, delayMs: number, more?: More): Attempt;
/** Carry out these tries, in order. */
export function plan(attempts: Attempt[], more?: { reason?: number; tag?: number }): Verdict;
/** Answer the client with an error. */
export function reject(status: number, more?: { retryAfterMs?: number; reason?: number }): Verdict;
