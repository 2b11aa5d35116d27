import { loopClock } from '../../lib/loop-clock.ts';
import type { EgressAgents } from './egress-agents.ts';
import { exchange } from './exchange.ts';
import type { Outcome } from './outcome.ts';

export type SendRequest = {
  /** As checkTargetUrl returned it. */
  readonly url: string;
  /** Complete, but for host, content-length and connection, which the connection sets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** From the call to the end of the response. */
  readonly timeoutMs: number;
  /** Gives up at once: a failure of reason OTHER, or the response as far as it had come. */
  readonly signal?: AbortSignal | undefined;
};

/** Makes one attempt. Never rejects, and settles within `timeoutMs` of the loop's clock whatever the receiver does. */
export async function send(agents: EgressAgents, request: SendRequest): Promise<Outcome> {
  const options = { ...request, startedAt: loopClock.now() };
  const { outcome, saysNothing } = await exchange(agents.pooled, options);
  if (!saysNothing || request.signal?.aborted === true) return outcome;
  return (await exchange(agents.fresh, options)).outcome;
}
