import { expect, it } from 'vitest';
import { signingHeaders } from '../../src/delivery/sending/request-auth.ts';
import { type VerificationSecret, verifySignature } from '../../src/delivery/sending/verify-signature.ts';
import { generateSigningSecret } from '../../src/subscriptions/secrets.ts';

const SECONDS = 1_700_000_000;
const BODY = Buffer.from('{"id":"evt_1","data":{"name":"Jürgen"}}');
const CURRENT = { id: 'current', secret: generateSigningSecret(), expiresAt: null };
const OLD = { id: 'old', secret: generateSigningSecret(), expiresAt: new Date((SECONDS + 100) * 1_000) };

function signed(...secrets: [VerificationSecret, ...VerificationSecret[]]) {
  const [current, ...older] = secrets.map(({ secret }) => secret);
  const headers = signingHeaders({
    secrets: [current ?? '', ...older],
    eventId: 'evt_1',
    timestampSeconds: SECONDS,
    body: BODY,
  });
  return {
    webhookId: headers['webhook-id'],
    webhookTimestamp: headers['webhook-timestamp'],
    webhookSignature: headers['webhook-signature'],
    body: BODY,
    receivedAt: new Date(SECONDS * 1_000),
  };
}

const compute = <T>(piece: () => T) => Promise.resolve(piece());
const KNOWN = { secrets: [CURRENT, OLD], sentBody: BODY, compute };

type Known = Parameters<typeof verifySignature>[0];

async function outcomeOf(received: ReturnType<typeof signed>, known: Partial<Known> = {}) {
  const { failures, secretId } = await verifySignature({ ...KNOWN, ...known }, received);
  return { codes: failures.map(({ code }) => code), secretId, text: failures.map(({ message }) => message).join(' ') };
}

it('a request is valid with any secret that had not expired at its receipt', async () => {
  expect(await outcomeOf(signed(CURRENT))).toMatchObject({ codes: [], secretId: 'current' });
  expect(await outcomeOf(signed(OLD))).toMatchObject({ codes: [], secretId: 'old' });
  expect(await outcomeOf(signed(OLD, CURRENT))).toMatchObject({ codes: [], secretId: 'current' });
  const later = { ...signed(OLD), receivedAt: new Date((SECONDS + 100) * 1_000) };
  expect(await outcomeOf(later)).toMatchObject({ codes: ['SECRET_EXPIRED'], secretId: 'old' });
});

it('entries of other versions, malformed entries and additional spaces beside a valid signature are ignored', async () => {
  const request = signed(CURRENT);
  const webhookSignature = `v1a,xyz  v1,abc ${request.webhookSignature} `;
  expect(await outcomeOf({ ...request, webhookSignature })).toMatchObject({ codes: [], secretId: 'current' });
});

it.each([
  [-300, []],
  [300, []],
  [-301, ['TIMESTAMP_OUTSIDE_TOLERANCE']],
  [301, ['TIMESTAMP_OUTSIDE_TOLERANCE']],
])('a request received %i s after its timestamp has the failures %j', async (seconds, codes) => {
  const receivedAt = new Date((SECONDS + seconds) * 1_000);
  expect(await outcomeOf({ ...signed(CURRENT), receivedAt })).toMatchObject({ codes, secretId: 'current' });
});

it.each([
  ['1700000000.5', 'a fraction'],
  ['', 'empty'],
  ['2023-11-14T22:13:20Z', 'a date'],
  ['9'.repeat(16), 'too many digits'],
])('the timestamp %j is malformed: %s', async (webhookTimestamp) => {
  const { codes } = await outcomeOf({ ...signed(CURRENT), webhookTimestamp });
  expect(codes).toContain('MALFORMED_HEADER');
});

it.each(['', 'abc', 'v2,abc', 'v1=abc', 'v1,abc', `v1,${'A'.repeat(44)}`])(
  'the signature "%s" is malformed',
  async (webhookSignature) => {
    expect(await outcomeOf({ ...signed(CURRENT), webhookSignature })).toMatchObject({
      codes: ['MALFORMED_HEADER'],
      secretId: null,
    });
  },
);

it('a body that was parsed and serialized again is detected, with the secret that signed the sent body', async () => {
  const body = Buffer.from('{"id":"evt_1","data":{"name":"J\\u00fcrgen"}}');
  const { codes, secretId, text } = await outcomeOf({ ...signed(CURRENT), body });
  expect({ codes, secretId }).toEqual({ codes: ['BODY_DIFFERS'], secretId: 'current' });
  expect(text).toContain(`${body.length} bytes were received, ${BODY.length} bytes were sent`);
  expect(text).toContain('from byte 31 on');
  const longer = Buffer.concat([BODY, Buffer.from('\n')]);
  expect((await outcomeOf({ ...signed(CURRENT), body: longer })).text).toContain(`from byte ${BODY.length} on`);
});

it('a signature with another secret, id or timestamp matches no secret', async () => {
  const stranger = { id: 'stranger', secret: generateSigningSecret(), expiresAt: null };
  const none = { codes: ['NO_MATCHING_SECRET'], secretId: null };
  expect(await outcomeOf(signed(stranger))).toMatchObject(none);
  expect(await outcomeOf({ ...signed(CURRENT), webhookId: 'evt_2' })).toMatchObject(none);
  expect(await outcomeOf({ ...signed(CURRENT), webhookTimestamp: String(SECONDS + 1) })).toMatchObject(none);
  expect(await outcomeOf(signed(CURRENT), { secrets: [] })).toMatchObject(none);
  expect(await outcomeOf({ ...signed(stranger), body: Buffer.from('{}') })).toMatchObject({
    codes: ['BODY_DIFFERS', 'NO_MATCHING_SECRET'],
  });
});

it('without the sent body, a changed body matches no secret, and the message has the reason', async () => {
  const { codes, text } = await outcomeOf({ ...signed(CURRENT), body: Buffer.from('{}') }, { sentBody: undefined });
  expect(codes).toEqual(['NO_MATCHING_SECRET']);
  expect(text).toContain('the body could not be compared');
});

it('no message contains a secret or the expected signature', async () => {
  const { webhookSignature } = signed(CURRENT);
  const texts = [
    await outcomeOf({ ...signed(CURRENT), body: Buffer.from('{}') }),
    await outcomeOf({ ...signed(OLD), receivedAt: new Date((SECONDS + 1_000) * 1_000) }),
    await outcomeOf({ ...signed(CURRENT), webhookId: 'evt_2' }),
  ].map(({ text }) => text);
  for (const text of texts) {
    expect(text).not.toContain(CURRENT.secret.slice(6));
    expect(text).not.toContain(webhookSignature.slice(3));
  }
});
