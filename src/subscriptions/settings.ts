import { MAX_EVENT_TYPES } from '../events/catalogue/service.ts';
import { isEventTypePattern } from '../events/event-type.ts';
import { validateFilter } from '../events/matching/filter-validation.ts';
import type { InputProblem } from '../lib/errors.ts';
import type { GivenHeader } from './headers.ts';

export type Setting = {
  readonly type: keyof Values;
  /** The column of webhook_subscriptions. Undefined for headers, whose names and encrypted values are in two columns. */
  readonly column?: string;
  /** Creating a webhook subscription requires a value. */
  readonly isRequired?: true;
  /** The value of a new webhook subscription if none is given. The same as the column's default. */
  readonly default?: string | number | boolean | null;
  /** A phrase for the default, if its value cannot be quoted. */
  readonly defaultMeans?: string;
  /** Minimum and maximum of an integer, both included. */
  readonly range?: readonly [min: number, max: number];
  /** The limits of any other type, as a phrase. */
  readonly limits?: string;
  /** A noun phrase, without the full stop. */
  readonly description: string;
  /** A sentence about other effects of an update. */
  readonly onUpdate?: string;
  /** Sender processes need its value: SubscriptionCache reads it. */
  readonly isSent?: true;
};

/** The TypeScript type of a setting's values by its GraphQL type. */
type Values = {
  String: string;
  StringList: readonly string[];
  Boolean: boolean;
  Int: number;
  JSON: string | number | boolean | object;
  HeaderList: readonly GivenHeader[];
};

const MAX_DESCRIPTION_LENGTH = 1_000;

/**
 * Every setting of a webhook subscription. The fields of the GraphQL types, the validation of integers, the written columns,
 * the columns that senders read, and docs/subscription-settings.md derive from this table.
 */
const SETTINGS = {
  url: {
    type: 'String',
    column: 'url',
    isRequired: true,
    limits: '`https://` and a public address unless the operator permits others, at most 2,048 characters',
    description: 'The URL that requests are sent to',
    isSent: true,
  },
  eventTypes: {
    type: 'StringList',
    column: 'event_types',
    isRequired: true,
    limits: `from 1 to ${MAX_EVENT_TYPES} of them`,
    description: 'Event types, prefixes such as `conversation.*`, or `*` for all but `webhook_subscription.*`',
  },
  description: {
    type: 'String',
    column: 'description',
    default: '',
    defaultMeans: 'empty',
    limits: `at most ${MAX_DESCRIPTION_LENGTH.toLocaleString('en')} characters`,
    description: 'A text for people',
  },
  headers: {
    type: 'HeaderList',
    default: null,
    defaultMeans: 'none',
    limits: 'at most 20, with at most 4 KiB of names and values together',
    description: 'Custom headers of every request',
    onUpdate:
      'An update replaces the whole list; a header without a value keeps its stored value, and an empty list removes all.',
  },
  filter: {
    type: 'JSON',
    column: 'filter',
    default: null,
    defaultMeans: 'no filter',
    limits:
      'at most 100 conditions, 10 levels and 16 KiB of JSON; with the filters and event types of all webhook subscriptions of the tenant at most 2 MiB',
    description:
      'The payload filter that the data of an event must match (docs/payload-filters.md), such as `{"status": "paid", "total": {"$gt": 100}}`; pass it as a variable, because GraphQL literals cannot contain names with `$`',
    onUpdate: '`null` removes the filter.',
  },
  isActive: {
    type: 'Boolean',
    column: 'is_active',
    default: true,
    description: 'Whether deliveries are created and sent',
    onUpdate: '`false` cancels the pending deliveries.',
  },
  timeoutMs: {
    type: 'Int',
    column: 'timeout_ms',
    default: 5_000,
    range: [1_000, 30_000],
    description: 'The time limit of one attempt in milliseconds',
    isSent: true,
  },
  maxInFlight: {
    type: 'Int',
    column: 'max_in_flight',
    default: 10,
    range: [1, 100],
    description: 'The maximum number of attempts in flight, from all sender processes together',
    isSent: true,
  },
  rateLimitPerSecond: {
    type: 'Int',
    column: 'rate_limit_per_second',
    default: null,
    defaultMeans: 'no limit',
    range: [1, 1_000],
    description: 'The maximum number of attempts started per second, by all sender processes together',
    onUpdate: '`null` removes the limit.',
    isSent: true,
  },
} as const satisfies Record<string, Setting>;

type Table = typeof SETTINGS;
export type SettingName = keyof Table;

/** The names of the settings whose rows have `Trait`. */
type NamesWith<Trait> = { [Name in SettingName]: Table[Name] extends Trait ? Name : never }[SettingName];

/** The stored value of a setting. It can be null only if null is the default. */
type StoredValue<Name extends SettingName> =
  | Values[Table[Name]['type']]
  | (Table[Name] extends { readonly default: null } ? null : never);

/** The settings in the input of a create or an update. An absent setting gets its default, or keeps its value. */
export type WebhookSubscriptionSettings = {
  readonly [Name in SettingName]?: Values[Table[Name]['type']] | null | undefined;
};

/** Settings that each new webhook subscription needs. */
export type RequiredSettings = {
  readonly [Name in NamesWith<{ readonly isRequired: true }>]: Values[Table[Name]['type']];
};

/** The settings that sender processes read. */
export type SentSettings = { readonly [Name in NamesWith<{ readonly isSent: true }>]: StoredValue<Name> };

// `as`: Object.entries returns the keys as strings.
export const SETTING_ROWS = Object.entries(SETTINGS) as readonly (readonly [SettingName, Setting])[];

/** The select list of SentSettings, for webhook_subscriptions under the alias `s`. */
export const SENT_COLUMNS = SETTING_ROWS.filter(([, { isSent }]) => isSent)
  .map(([name, { column }]) => `s.${column} AS "${name}"`)
  .join(', ');

/** The description of a setting in an input for a create or an update. */
export function describeInput(name: SettingName, operation: 'create' | 'update'): string {
  const { description, onUpdate, isRequired }: Setting = SETTINGS[name];
  const last = operation === 'update' ? onUpdate : isRequired ? undefined : `Default: ${defaultOf(name)}.`;
  const sentence = [description, limitsOf(name)].filter((part) => part !== undefined).join(', ');
  return [`${sentence}.`, last].filter((part) => part !== undefined).join(' ');
}

/** The description of a setting in a webhook subscription. */
export function describeOutput(name: SettingName): string {
  const { description, default: value, defaultMeans }: Setting = SETTINGS[name];
  return value === null && defaultMeans !== undefined
    ? `${description}; null means ${defaultMeans}.`
    : `${description}.`;
}

/** A phrase about the permitted values of a setting; undefined if its type has no further limits. */
export function limitsOf(name: SettingName): string | undefined {
  const { range, limits }: Setting = SETTINGS[name];
  return range === undefined ? limits : `from ${range[0]} to ${range[1]}`;
}

export function defaultOf(name: SettingName): string {
  const { default: value, defaultMeans }: Setting = SETTINGS[name];
  return defaultMeans ?? String(value);
}

/** Every problem of the settings, except those of the URL and the headers. */
export function problemsOfSettings(settings: WebhookSubscriptionSettings): InputProblem[] {
  return [
    ...problemsOfEventTypes(settings.eventTypes ?? undefined),
    ...(settings.filter == null ? [] : validateFilter(settings.filter)),
    ...problemsOfDescription(settings.description ?? ''),
    ...SETTING_ROWS.flatMap(([name, { range }]) => problemOfRange(name, range, settings[name])),
  ];
}

function problemsOfEventTypes(eventTypes: readonly string[] | undefined): InputProblem[] {
  if (eventTypes === undefined) return [];
  const path = 'eventTypes';
  if (eventTypes.length === 0) return [{ path, message: 'must name at least one event type; `*` means all' }];
  // A list that is too long has only this problem, so that the response stays short.
  if (eventTypes.length > MAX_EVENT_TYPES)
    return [{ path, message: `may name at most ${MAX_EVENT_TYPES} event types` }];
  return eventTypes.flatMap((eventType, index) => {
    const message = problemOfEventType(eventType, eventTypes.indexOf(eventType) < index);
    return message === undefined ? [] : [{ path: `${path}.${index}`, message }];
  });
}

function problemOfEventType(eventType: string, isRepeated: boolean): string | undefined {
  if (!isEventTypePattern(eventType)) {
    return 'must be an event type such as conversation.created, a prefix such as conversation.*, or *';
  }
  return isRepeated ? 'is named twice' : undefined;
}

function problemsOfDescription(description: string): InputProblem[] {
  const path = 'description';
  if (description.length > MAX_DESCRIPTION_LENGTH) {
    return [{ path, message: `may have at most ${MAX_DESCRIPTION_LENGTH} characters` }];
  }
  // Postgres cannot store a NUL in text.
  return description.includes('\0') ? [{ path, message: 'must not contain NUL characters' }] : [];
}

function problemOfRange(path: string, range: Setting['range'], value: unknown): InputProblem[] {
  if (range === undefined || typeof value !== 'number') return [];
  const [min, max] = range;
  return value >= min && value <= max ? [] : [{ path, message: `must be from ${min} to ${max}` }];
}
