import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { createAlertMessage } from '../../src/alerts/message.ts';
import type { Alert } from '../../src/alerts/store.ts';

const SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
const RAISED = new Date('2026-11-29T08:00:00Z');

function circuit(index: number): Alert {
  const subscriptionId = `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`;
  const detail = { tenant: 'acme', subscriptionId, host: `h${index}.example.com`, since: RAISED.toISOString() };
  return { kind: 'CIRCUIT_OPENED', subject: subscriptionId, detail, raisedAt: new Date(RAISED.getTime() + index) };
}

const REJECTED: Alert = {
  kind: 'EVENTS_REJECTED',
  subject: '',
  detail: { count: 3, reasons: 'INVALID_JSON' },
  raisedAt: RAISED,
};

describe('a message with alerts', () => {
  test('groups them by kind, lists ten of each, and is signed', () => {
    const alerts = [REJECTED, ...Array.from({ length: 1_000 }, (_, index) => circuit(index))];
    const { headers, body } = createAlertMessage(alerts, { format: 'standard', secret: SECRET, now: new Date() });
    const payload = new Webhook(SECRET).verify(body.toString(), { ...headers }) as {
      type: string;
      data: { alerts: { kind: string; count: number; summary: string; raisedAt: string; details: object[] }[] };
    };
    expect(payload.type).toBe('webhooks_engine.alerts');
    const [circuits, rejected, ...others] = payload.data.alerts;
    expect(circuits).toMatchObject({ kind: 'CIRCUIT_OPENED', count: 1_000, raisedAt: RAISED.toISOString() });
    expect(circuits?.details).toHaveLength(10);
    expect(circuits?.summary).toMatch(/^1000 endpoints keep failing, .*h0\.example\.com of acme .* and 990 more$/);
    expect(rejected?.summary).toContain('3 published messages could not become events');
    expect(others).toEqual([]);
    expect(body.length).toBeLessThan(10_000);
  });

  test('has the same id for the same alerts in any order, and different ids for different alerts', () => {
    const idOf = (alerts: Alert[]) =>
      createAlertMessage(alerts, { format: 'standard', secret: undefined, now: new Date() }).headers['webhook-id'];
    expect(idOf([circuit(1), REJECTED])).toBe(idOf([REJECTED, circuit(1)]));
    expect(idOf([circuit(1), REJECTED])).not.toBe(idOf([circuit(2), REJECTED]));
  });

  test('for Slack is a text whose markup characters are escaped', () => {
    const full: Alert = { ...REJECTED, kind: 'STREAM_NEARLY_FULL', detail: { warnings: 'EVENTS <is> 90 % & more' } };
    const { body } = createAlertMessage([full, circuit(1)], { format: 'slack', secret: undefined, now: new Date() });
    expect(JSON.parse(body.toString())).toEqual({
      text:
        'webhooks-engine\n' +
        `• 1 endpoint keeps failing, only probes are sent: h1.example.com of acme (${circuit(1).subject})\n` +
        '• EVENTS &lt;is&gt; 90 % &amp; more',
    });
  });
});
