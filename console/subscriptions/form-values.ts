import type { SubscriptionSettingsFragment } from '../generated/graphql.ts';
import type { InputProblem } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { parseJsonText } from '../ui/json-text.ts';
import { listed } from '../ui/problems.ts';
import { subscriptionFormWords } from './messages.ts';

/** The form's texts, as they are typed. */
export type FormValues = {
  readonly tenant: string;
  readonly url: string;
  readonly description: string;
  /** Separated by commas, spaces or line breaks. */
  readonly eventTypes: string;
  /** JSON, or empty for no filter. */
  readonly filter: string;
  /** A value that is left empty keeps the stored one of this name. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly timeoutMs: string;
  readonly maxInFlight: string;
  /** Empty: no limit. */
  readonly rateLimitPerSecond: string;
};

export const NEW_SUBSCRIPTION: FormValues = {
  tenant: '',
  url: '',
  description: '',
  eventTypes: '*',
  filter: '',
  headers: [],
  timeoutMs: '5000',
  maxInFlight: '10',
  rateLimitPerSecond: '',
};

export function valuesOf(subscription: SubscriptionSettingsFragment): FormValues {
  const { filter, rateLimitPerSecond } = subscription;
  return {
    tenant: subscription.tenant,
    url: subscription.url,
    description: subscription.description,
    eventTypes: subscription.eventTypes.join('\n'),
    filter: filter == null ? '' : JSON.stringify(filter, undefined, 2),
    headers: subscription.headerNames.map((name) => ({ name, value: '' })),
    timeoutMs: String(subscription.timeoutMs),
    maxInFlight: String(subscription.maxInFlight),
    rateLimitPerSecond: rateLimitPerSecond == null ? '' : String(rateLimitPerSecond),
  };
}

/** Drops empty rows of headers: a problem that the server finds names the row by its place. */
export function withoutEmptyRows(values: FormValues): FormValues {
  return { ...values, headers: values.headers.filter(({ name, value }) => name.trim() !== '' || value !== '') };
}

/** The settings, as both mutations take them. */
type Settings = {
  readonly url: string;
  readonly description: string;
  readonly eventTypes: string[];
  readonly filter: unknown;
  readonly headers: { name: string; value?: string }[];
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly rateLimitPerSecond: number | null;
};

/** The settings of the form, and the problems of texts that cannot be sent; the server finds all others. */
export function readForm(values: FormValues): { readonly settings: Settings; readonly problems: InputProblem[] } {
  const problems: InputProblem[] = [];
  const numberOf = (path: 'timeoutMs' | 'maxInFlight' | 'rateLimitPerSecond') => {
    const text = values[path].trim();
    if (!/^\d{1,9}$/.test(text)) problems.push({ path, message: subscriptionFormWords.notANumber });
    return Number(text);
  };
  const settings = {
    url: values.url.trim(),
    description: values.description.trim(),
    eventTypes: listed(values.eventTypes),
    filter: readFilter(values.filter, problems),
    headers: values.headers.map(({ name, value }) => ({ name: name.trim(), ...(value !== '' && { value }) })),
    timeoutMs: numberOf('timeoutMs'),
    maxInFlight: numberOf('maxInFlight'),
    rateLimitPerSecond: values.rateLimitPerSecond.trim() === '' ? null : numberOf('rateLimitPerSecond'),
  };
  return { settings, problems };
}

function readFilter(text: string, problems: InputProblem[]): unknown {
  const parsed = parseJsonText(text);
  if (parsed === undefined) problems.push({ path: 'filter', message: messages.notJson });
  return parsed?.value ?? null;
}
