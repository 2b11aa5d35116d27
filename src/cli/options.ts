import { isUuid } from '../lib/uuid7.ts';
import { usageError } from './failure.ts';

/** Returns the name that the value of the option has in any case. Throws a usage error. */
export function readOneOf<Name extends string>(option: string, names: readonly Name[], text: string): Name {
  const name = names.find((one) => one === text.toUpperCase());
  if (name === undefined) throw usageError(`${option} must be one of ${names.join(', ')}.`);
  return name;
}

/** Returns the http or https URL. Throws a usage error with this message. */
export function readUrl(text: string, message: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw usageError(message);
  return url;
}

type Selection = {
  readonly tenant?: string | undefined;
  readonly subscription?: string[] | undefined;
  readonly type?: string[] | undefined;
};

/**
 * The DeliveryFilter of the options that select attempts or deliveries. Throws a usage error for a text that is no UUID: the
 * engine takes it like the id of another tenant's subscription, which matches nothing.
 */
export function selectionOf({ tenant, subscription: subscriptionIds, type: eventTypes }: Selection) {
  if (subscriptionIds?.every(isUuid) === false) {
    throw usageError('--subscription must be the id of a webhook subscription, a UUID.');
  }
  return { tenant, subscriptionIds, eventTypes };
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time in ISO 8601, or a duration before now such as `6h`. */
export function parseTime(option: string, text: string | undefined, now = Date.now()): string | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return new Date(now - Number(count) * (UNITS_MS[unit] ?? 0)).toISOString();
  if (!/^\d{4}-\d{2}-\d{2}T/.test(text) || Number.isNaN(Date.parse(text))) {
    throw usageError(`${option} must be a time in ISO 8601 with its zone, or a duration before now such as 6h.`);
  }
  return text;
}
