import type { Logger } from 'pino';
import { EgressAgents } from '../delivery/http/agents.ts';
import type { EgressRoute } from '../delivery/http/dial.ts';
import { failureReasonOf, postWithStaleConnectionRetry } from '../delivery/http/request.ts';
import { Loop } from '../lib/loop.ts';
import type { Database } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';
import { type ConditionSources, findConditions } from './conditions.ts';
import { type AlertFormat, createAlertMessage } from './message.ts';
import { type Alert, claimCheck, claimDue, markSent, recordConditions } from './store.ts';

export type AlertJobOptions = Omit<ConditionSources, 'database'> & {
  readonly database: Pick<Database, 'pool' | 'readPool' | 'clock'>;
  readonly log: Logger;
  readonly url: string;
  readonly secret: string | undefined;
  readonly format: AlertFormat;
  /** The proxy and the source address of webhooks. */
  readonly route: EgressRoute & { readonly dnsServers?: readonly string[] | undefined };
  readonly userAgent: string;
  readonly limits?: Partial<AlertLimits>;
};

export type AlertLimits = {
  /** Interval at which one process of the installation checks the conditions. */
  readonly checkMs: number;
  /** Minimum time between two requests of the installation. Alerts raised within it are part of the next request. */
  readonly minIntervalMs: number;
  /** Delay before the second try of an alert, longer than the time limit of a try. It doubles up to `maxRetryMs`. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
};

const LIMITS: AlertLimits = { checkMs: 15_000, minIntervalMs: 60_000, retryMs: 60_000, maxRetryMs: 1_800_000 };
const TIMEOUT_MS = 10_000;

/** Sends conditions that need an operator's attention to the operator's webhook. */
export class AlertJob extends Loop {
  readonly #options: AlertJobOptions;
  readonly #limits: AlertLimits;
  readonly #agents: EgressAgents;

  constructor(options: AlertJobOptions) {
    const limits = { ...LIMITS, ...options.limits };
    super({ log: options.log, work: 'alert check', retryMs: limits.checkMs, levelOf: failureLevel });
    this.#options = options;
    this.#limits = limits;
    // The operator's URL may be in a private network. Addresses of metadata services are still blocked.
    const allowed = { allowCidrs: ['0.0.0.0/0', '::/0'], allowHttp: 'always', denyPorts: new Set<number>() } as const;
    this.#agents = new EgressAgents({ ...options.route, ...allowed });
  }

  override async stop(): Promise<void> {
    await super.stop();
    this.#agents.close();
  }

  protected async round(signal: AbortSignal): Promise<number> {
    const { pool } = this.#options.database;
    if (await claimCheck(pool, this.#limits.checkMs)) {
      const conditions = await findConditions(this.#options, (kind, err) => {
        this.#options.log.warn({ err, kind }, 'alert condition not checked; retrying');
      });
      await recordConditions(pool, conditions);
      const due = await claimDue(pool, this.#limits);
      if (due.length > 0 && (await this.#send(due, signal))) await markSent(pool, due);
    }
    return this.#limits.checkMs;
  }

  /** Returns whether the webhook accepted the message. Logs why it failed, without the URL, which may be a secret. */
  async #send(alerts: readonly Alert[], signal: AbortSignal): Promise<boolean> {
    const { database, log, url, secret, format, userAgent } = this.#options;
    const { headers, body } = createAlertMessage(alerts, { format, secret, now: new Date(database.clock.now()) });
    const outcome = await postWithStaleConnectionRetry(this.#agents, {
      url,
      headers: { ...headers, 'user-agent': userAgent },
      body,
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    const reason = failureReasonOf(outcome);
    if (reason === undefined) {
      log.info({ alerts: alerts.length }, 'alerts sent');
      return true;
    }
    const detail = outcome.kind === 'response' ? { statusCode: outcome.statusCode } : { why: outcome.message };
    log.warn({ alerts: alerts.length, reason, ...detail }, 'alerts not sent; retrying');
    return false;
  }
}
