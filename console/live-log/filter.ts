import { type DeliveryFilter, FailureReason } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { isUuid } from '../ui/uuid.ts';

/**
 * The filter language of the live log: terms such as `status:failure code:5xx type:order.*`, separated by spaces. Terms of
 * the same key are alternatives, terms of different keys must all match. Words without a key are searched for in the row.
 */
type Term = {
  readonly key: FilterKey | 'text';
  readonly value: string;
  /** Position in the text: the first character, and the one after the last. */
  readonly start: number;
  readonly end: number;
};

const FILTER_KEYS = ['status', 'code', 'reason', 'type', 'sub', 'slow', 'attempt', 'tenant', 'since', 'until'] as const;
export type FilterKey = (typeof FILTER_KEYS)[number];

export type ParsedFilter = {
  readonly terms: readonly Term[];
  /** The filter for the server. Relative times are resolved with `nowMs`. */
  readonly filter: DeliveryFilter;
  /** Words in lower case that must all occur in the row. The client searches, because the server does not search texts. */
  readonly words: readonly string[];
  /** Minimum response time of a row in ms. The server only filters by times of at least SERVER_MIN_MS. */
  readonly minResponseTimeMs: number;
  /** Whether the page filters the rows that it has read, in addition to the filter of the server. */
  readonly isPartlyLocal: boolean;
  readonly problems: readonly string[];
};

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** Minimum response time by which the API filters, in ms: its index does not contain faster attempts. */
const SERVER_MIN_MS = 1_000;
const problems = messages.filterProblems;

export function parseFilter(text: string, nowMs: number): ParsedFilter {
  const terms = splitTerms(text);
  const found: string[] = [];
  const valuesOf = <Value>(key: FilterKey, read: (value: string) => Value | undefined): Value[] | undefined => {
    const own = terms.filter((term) => term.key === key);
    const values = own.flatMap(({ value }) => {
      const result = value === '' ? undefined : read(value);
      if (result === undefined) found.push(value === '' ? problems.empty(key) : problemOf(key, value));
      return result === undefined ? [] : [result];
    });
    return values.length === 0 ? undefined : values;
  };
  const time = (key: 'since' | 'until') => valuesOf(key, (value) => readTime(value, nowMs))?.at(-1);
  for (const key of unknownKeys(terms)) found.push(problems.unknownKey(key));
  // Terms of the same key are alternatives.
  const minResponseTimeMs = Math.min(...(valuesOf('slow', readMilliseconds) ?? [0]));
  const filter = {
    tenant: valuesOf('tenant', (value) => value)?.at(-1),
    statuses: valuesOf('status', readStatus),
    statusCodes: valuesOf('code', readCodes),
    failureReasons: valuesOf('reason', readReason),
    eventTypes: valuesOf('type', (value) => value),
    subscriptionIds: valuesOf('sub', (value) => (isUuid(value) ? value.toLowerCase() : undefined)),
    attemptNumbers: valuesOf('attempt', readAttemptNumber),
    minResponseTimeMs: minResponseTimeMs >= SERVER_MIN_MS ? minResponseTimeMs : undefined,
    from: time('since'),
    to: time('until'),
  };
  const words = terms.filter(({ key, value }) => key === 'text' && !isUnknownKey(value));
  return {
    terms,
    filter: Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)),
    words: words.map(({ value }) => value.toLowerCase()),
    minResponseTimeMs,
    isPartlyLocal: words.length > 0 || (minResponseTimeMs > 0 && minResponseTimeMs < SERVER_MIN_MS),
    problems: found,
  };
}

/** Values with spaces are in double quotes: `type:"a b"`. */
function splitTerms(text: string): Term[] {
  return [...text.matchAll(/(?:(\w+):)?(?:"([^"]*)"|(\S+)|(?<=:))/g)].flatMap((match): Term[] => {
    const [whole, key, quoted, plain] = match;
    if (whole === '') return [];
    const place = { start: match.index, end: match.index + whole.length };
    if (key !== undefined && isKey(key.toLowerCase())) {
      return [{ key: key.toLowerCase() as FilterKey, value: quoted ?? plain ?? '', ...place }];
    }
    return [{ key: 'text', value: key === undefined ? (quoted ?? plain ?? '') : whole, ...place }];
  });
}

function isKey(text: string): text is FilterKey {
  return (FILTER_KEYS as readonly string[]).includes(text);
}

/** `satus:failure` is a misspelled key, while `http://…` and `10:30` are texts. */
function isUnknownKey(word: string): boolean {
  return /^[a-z]+:(?!\/\/)/i.test(word);
}

function unknownKeys(terms: readonly Term[]): string[] {
  return terms
    .filter(({ key, value }) => key === 'text' && isUnknownKey(value))
    .map(({ value }) => value.split(':', 1)[0] ?? '');
}

function problemOf(key: FilterKey, value: string): string {
  if (key === 'sub') return problems.subscription(value);
  if (key === 'since' || key === 'until') return problems.time(value);
  return key === 'type' || key === 'tenant' ? problems.empty(key) : problems[key](value);
}

function readStatus(value: string): 'SUCCESS' | 'FAILURE' | undefined {
  const word = value.toLowerCase();
  if (['success', 'succeeded', 'ok'].includes(word)) return 'SUCCESS';
  return ['failure', 'failed', 'error'].includes(word) ? 'FAILURE' : undefined;
}

function readCodes(value: string): { from: number; to: number } | undefined {
  const [, hundreds] = /^([1-5])xx$/i.exec(value) ?? [];
  if (hundreds !== undefined) return { from: Number(hundreds) * 100, to: Number(hundreds) * 100 + 99 };
  const [, from, to = from] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(value) ?? [];
  return from === undefined || Number(from) > Number(to) ? undefined : { from: Number(from), to: Number(to) };
}

function readReason(value: string): FailureReason | undefined {
  const name = value.toUpperCase().replaceAll('-', '_');
  return Object.values(FailureReason).find((reason) => reason === name);
}

/** `500ms`, `2s`, `1.5s`, or a number of milliseconds. */
function readMilliseconds(value: string): number | undefined {
  const [, amount, unit] = /^(\d{1,5}(?:\.\d{1,3})?)(ms|s)?$/.exec(value) ?? [];
  return amount === undefined ? undefined : Math.round(Number(amount) * (unit === 's' ? 1_000 : 1));
}

function readAttemptNumber(value: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(value) ? Number(value) : undefined;
}

/** A time in ISO 8601, or a span before now such as `1h`. */
function readTime(value: string, nowMs: number): string | undefined {
  const [, amount, unit = ''] = /^(\d{1,5})([smhd])$/.exec(value) ?? [];
  if (amount !== undefined) return new Date(nowMs - Number(amount) * (UNITS_MS[unit] ?? 0)).toISOString();
  if (!/^\d{4}-\d\d-\d\d/.test(value)) return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}

/** Adds a term to the text, or removes it if the text already has it. */
export function toggleTerm(text: string, key: FilterKey, value: string): string {
  const term = `${key}:${/\s|"/.test(value) ? `"${value.replaceAll('"', '')}"` : value}`;
  const existing = splitTerms(text).find(({ start, end }) => text.slice(start, end) === term);
  if (existing === undefined) return `${text.trim()} ${term}`.trim();
  return `${text.slice(0, existing.start)}${text.slice(existing.end)}`.replaceAll(/ {2,}/g, ' ').trim();
}

export type Completion = {
  /** The text in the list. */
  readonly label: string;
  /** The whole text after the choice, and the position of the caret in it. */
  readonly text: string;
  readonly caret: number;
  /** The endpoint of a subscription. */
  readonly url?: string | undefined;
};

type Values = Readonly<Partial<Record<FilterKey, readonly string[]>>>;

/** Values of the visible rows, for completion. */
export type KnownValues = {
  readonly values: Values;
  /** The URLs of endpoints by the ids of their subscriptions. */
  readonly urls: ReadonlyMap<string, string>;
};

const FIXED: Values = {
  status: ['success', 'failure'],
  code: ['2xx', '3xx', '4xx', '5xx', '404', '410', '429', '500', '503'],
  reason: Object.values(FailureReason).map((reason) => reason.toLowerCase()),
  slow: ['500ms', '1s', '2s', '5s', '10s'],
  attempt: ['1', '2', '3', '4', '5'],
  since: ['15m', '1h', '6h', '1d', '7d'],
  until: ['15m', '1h', '1d'],
};
const MAX_COMPLETIONS = 8;

/** Keys and values that continue the word before the caret. A part of its URL finds a subscription. */
export function completions(text: string, caret: number, known: KnownValues): readonly Completion[] {
  const start = text.slice(0, caret).search(/\S*$/);
  const word = text.slice(start, caret);
  const [, key = '', begun = ''] = /^(\w+):(.*)$/.exec(word) ?? [];
  const replace = (label: string, isComplete: boolean): Completion => {
    const inserted = isComplete ? `${label} ` : label;
    return {
      label,
      text: text.slice(0, start) + inserted + text.slice(caret).trimStart(),
      caret: start + inserted.length,
    };
  };
  if (!isKey(key)) {
    return FILTER_KEYS.filter((each) => each.startsWith(word.toLowerCase())).map((each) => replace(`${each}:`, false));
  }
  const values = [...new Set([...(FIXED[key] ?? []), ...(known.values[key] ?? [])])];
  const urlOf = (value: string) => (key === 'sub' ? known.urls.get(value) : undefined);
  const sought = begun.toLowerCase();
  return values
    .filter((value) => value.toLowerCase().startsWith(sought) || urlOf(value)?.toLowerCase().includes(sought))
    .filter((value) => value !== begun)
    .slice(0, MAX_COMPLETIONS)
    .map((value) => ({ ...replace(`${key}:${value}`, true), url: urlOf(value) }));
}
