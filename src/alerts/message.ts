import { createHash } from 'node:crypto';
import { signingHeaders } from '../delivery/sending/request-auth.ts';
import { ALERT_KINDS, type AlertKind } from './conditions.ts';
import type { Alert } from './store.ts';

export const ALERT_FORMATS = ['standard', 'slack'] as const;

export type AlertFormat = (typeof ALERT_FORMATS)[number];

export type AlertMessage = { readonly headers: Readonly<Record<string, string>>; readonly body: Buffer };

type MessageOptions = {
  readonly format: AlertFormat;
  /** The signing secret, `whsec_…`; undefined: the message is not signed. */
  readonly secret: string | undefined;
  readonly now: Date;
};

/** Maximum alerts of one kind that a message lists. The message also has their total number. */
const MAX_LISTED = 10;
const MAX_SUMMARY_LENGTH = 1_000;

type Group = {
  readonly kind: AlertKind;
  readonly count: number;
  readonly summary: string;
  readonly raisedAt: string;
  readonly details: readonly Alert['detail'][];
};

/** One request for all alerts, grouped by kind. The same alerts have the same `webhook-id`, for dropping duplicates. */
export function createAlertMessage(alerts: readonly Alert[], { format, secret, now }: MessageOptions): AlertMessage {
  const groups = ALERT_KINDS.flatMap((kind) => toGroup(kind, alerts));
  const content =
    format === 'slack'
      ? { text: `webhooks-engine\n${groups.map(({ summary }) => `• ${escapeSlack(summary)}`).join('\n')}` }
      : { type: 'webhooks_engine.alerts', timestamp: now.toISOString(), data: { alerts: groups } };
  const body = Buffer.from(JSON.stringify(content));
  const id = idOf(alerts);
  const timestampSeconds = Math.floor(now.getTime() / 1_000);
  const signed =
    secret === undefined
      ? { 'webhook-id': id, 'webhook-timestamp': String(timestampSeconds) }
      : signingHeaders({ secrets: [secret], eventId: id, timestampSeconds, body });
  return { headers: { ...signed, 'content-type': 'application/json' }, body };
}

function toGroup(kind: AlertKind, alerts: readonly Alert[]): Group[] {
  const ofKind = alerts.filter((alert) => alert.kind === kind);
  const [first] = ofKind;
  if (first === undefined) return [];
  const details = ofKind.slice(0, MAX_LISTED).map(({ detail }) => detail);
  const text = SUMMARIES[kind](first.detail, ofKind.length, listOf(details, ofKind.length));
  const raisedAt = new Date(Math.min(...ofKind.map((alert) => alert.raisedAt.getTime()))).toISOString();
  return [{ kind, count: ofKind.length, summary: text.slice(0, MAX_SUMMARY_LENGTH).toWellFormed(), raisedAt, details }];
}

/** Sentences for people: the condition, and the parts of the installation to check. */
const SUMMARIES: Readonly<Record<AlertKind, (detail: Alert['detail'], count: number, list: string) => string>> = {
  CIRCUIT_OPENED: (_, count, list) =>
    `${count} ${count === 1 ? 'endpoint keeps' : 'endpoints keep'} failing, only probes are sent: ${list}`,
  SUBSCRIPTION_DEACTIVATED: (_, count, list) =>
    `${count} webhook ${count === 1 ? 'subscription was' : 'subscriptions were'} deactivated: ${list}`,
  DELIVERIES_OVERDUE: ({ seconds, count }) =>
    `due deliveries are not sent: the oldest of ${count} has been due for ${seconds} s; look at the senders, NATS and Postgres`,
  EVENTS_REJECTED: ({ count, reasons }) =>
    `${count} published ${count === 1 ? 'message' : 'messages'} could not become events within 15 minutes (${reasons}); see rejectedEvents`,
  STREAM_NEARLY_FULL: ({ warnings }) => String(warnings),
  DISK_NEARLY_FULL: ({ freeMegabytes }) => `the disk of DATA_DIR is nearly full: ${freeMegabytes} MB are free`,
};

function listOf(details: readonly Alert['detail'][], count: number): string {
  const named = details.map(({ tenant, host, subscriptionId, reason }) => {
    return `${host} of ${tenant} (${subscriptionId}${reason === undefined ? '' : `, ${reason}`})`;
  });
  return [...named, ...(count > details.length ? [`and ${count - details.length} more`] : [])].join(', ');
}

/** These three characters are markup in Slack's text. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function idOf(alerts: readonly Alert[]): string {
  const names = alerts.map(({ kind, subject, raisedAt }) => `${kind} ${subject} ${raisedAt.getTime()}`).sort();
  return `alert_${createHash('sha256').update(names.join('\n')).digest('hex').slice(0, 32)}`;
}
