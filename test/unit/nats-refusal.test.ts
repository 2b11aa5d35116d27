import { NatsError } from 'nats';
import { expect, it } from 'vitest';
import { describeRefusal } from '../../src/nats/refusal.ts';

/** The answer of nats-server to a message that it did not store. */
function refusal(errorCode: number, description: string): NatsError {
  const error = new NatsError(description, '503');
  error.api_error = { code: 503, err_code: errorCode, description };
  return error;
}

it.each([
  [10077, 'maximum bytes exceeded', 'the stream is full (max_bytes or max_msgs)'],
  [10077, 'maximum messages exceeded', 'the stream is full (max_bytes or max_msgs)'],
  [10077, 'write /var/nats/1.blk: no space left on device', 'the disk of nats-server is full'],
  [10077, 'open /var/nats/1.blk: permission denied', 'nats-server could not store the message, as its log says'],
  [10002, 'resource limits exceeded for account', 'the account has reached its storage limit'],
  [10023, 'insufficient resources', 'nats-server has reached its limit of storage (max_file_store)'],
])('the refusal %d, %s, is described as: %s', (errorCode, description, expected) => {
  expect(describeRefusal(refusal(errorCode, description))).toBe(expected);
});
