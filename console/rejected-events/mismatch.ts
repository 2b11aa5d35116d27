import type { RejectedRowFragment } from '../generated/graphql.ts';

type Mismatch = {
  /** The event type whose schema the data does not match. */
  readonly type: string;
  /** The first violated path, `data` or `data.total`. */
  readonly path: string;
};

/** Undefined if the event was rejected for another reason. */
export function mismatchOf({
  reason,
  subject,
  message,
}: Pick<RejectedRowFragment, 'reason' | 'subject' | 'message'>): Mismatch | undefined {
  if (reason !== 'SCHEMA_MISMATCH') return undefined;
  // `events.<tenant>.<type>`, behind NATS_PREFIX if it is set; neither a prefix nor a tenant has a dot.
  const tokens = subject.split('.');
  const type = tokens.slice(tokens[0] === 'events' ? 2 : 3).join('.');
  // A path with a member name that contains ` must ` is cut there, which only affects the mark.
  return { type, path: /^(data(?:\..*?)?) must /.exec(message)?.[1] ?? 'data' };
}
