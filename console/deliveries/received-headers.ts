import { isObject, parseJsonText } from '../ui/json-text.ts';

/** The headers for the verification, by their fields in the input of the query. */
const NEEDED = {
  webhookId: 'webhook-id',
  webhookTimestamp: 'webhook-timestamp',
  webhookSignature: 'webhook-signature',
} as const;

type ReceivedHeaders = Readonly<Record<keyof typeof NEEDED, string>>;

type Read = {
  readonly headers: ReceivedHeaders;
  /** The names of headers that are missing in the text. */
  readonly missing: readonly string[];
};

/** Reads headers in the formats of logs: `name: value` lines, with or without the `>` of curl, or a JSON object. */
export function readReceivedHeaders(text: string): Read {
  const found = readJson(text) ?? readLines(text);
  const { webhookId, webhookTimestamp, webhookSignature } = NEEDED;
  const headers = {
    webhookId: found.get(webhookId) ?? '',
    webhookTimestamp: found.get(webhookTimestamp) ?? '',
    webhookSignature: found.get(webhookSignature) ?? '',
  };
  return { headers, missing: Object.values(NEEDED).filter((name) => (found.get(name) ?? '') === '') };
}

function readJson(text: string): Map<string, string> | undefined {
  const value = parseJsonText(text)?.value;
  if (!isObject(value)) return undefined;
  // Some frameworks have a list of values for each name.
  const asText = (each: unknown) => (Array.isArray(each) ? each.join(' ') : String(each));
  return new Map(Object.entries(value).map(([name, each]) => [name.toLowerCase(), asText(each).trim()]));
}

function readLines(text: string): Map<string, string> {
  const lines = text.matchAll(/^[<>\s]*([\w-]+)[ \t]*:[ \t]*(.*)$/gm);
  return new Map([...lines].map(([, name = '', value = '']) => [name.toLowerCase(), value.trim()]));
}
