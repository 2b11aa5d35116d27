const EVENT_TYPE = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const MAX_LENGTH = 256;

/** Whether `text` is an event type of at most 256 characters: `conversation.created`, `NEW_MESSAGE_FROM_VISITOR`. */
export function isEventType(text: string): boolean {
  return text.length <= MAX_LENGTH && EVENT_TYPE.test(text);
}

/** Whether `text` is a pattern: an event type, a prefix such as `conversation.*`, or `*` (see matchesPattern). */
export function isEventTypePattern(text: string): boolean {
  return text === '*' || isEventType(text.endsWith('.*') ? text.slice(0, -2) : text);
}

/**
 * `conversation.*` matches `conversation.created` and `conversation.message.created`, not `conversation` itself; `*` matches
 * every type except those of notices.
 */
export function matchesPattern(pattern: string, type: string): boolean {
  if (pattern === '*') return !isNoticeType(type);
  return pattern.endsWith('.*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}

/** Every pattern that matches `type`: the type itself, its prefixes from the longest, and, except for notices, `*`. */
export function patternsOf(type: string): string[] {
  const parts = type.split('.');
  const prefixes = parts.slice(1).map((_, dropped) => `${parts.slice(0, parts.length - 1 - dropped).join('.')}.*`);
  return [type, ...prefixes, ...(isNoticeType(type) ? [] : ['*'])];
}

/**
 * Whether events of this type are notices about subscriptions. Only subscriptions that select the type or its prefix receive
 * them: if `*` matched them, failing subscriptions would receive notices about each other, which multiplies failures.
 */
function isNoticeType(type: string): boolean {
  return type.startsWith('webhook_subscription.');
}

/** The default event type of `sendTestEvent`. */
export const TEST_EVENT_TYPE = 'webhook.test';

/** Whether the type is reserved for events of the engine, in this or a later version. */
export function isSystemEventType(type: string): boolean {
  return type === TEST_EVENT_TYPE || isNoticeType(type);
}

/** The reason why `text` cannot be a publisher's event id; undefined if it can. */
export function problemOfEventId(text: string): string | undefined {
  return /^[\x21-\x7e]{1,256}$/.test(text)
    ? undefined
    : 'must be 1 to 256 visible ASCII characters: it is sent as a header';
}
