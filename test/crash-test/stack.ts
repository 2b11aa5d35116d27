import { connect, type NatsConnection, nanos } from 'nats';
import { type EngineProcess, isReady, launchEngineProcess } from '../support/engine-process.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { ROLE_PROCESSES } from './schedule.ts';

export type StackOptions = {
  /** The path of the nats-server. */
  readonly natsServer: string;
  /** The program to launch; see LaunchOptions. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ack wait of the sender: after a kill, its messages are redelivered after this time. Undefined: 60 s. */
  readonly ackWaitMs: number | undefined;
};

/** A process or server that the schedule can kill and pause by name. */
export type Victim = {
  kill9(): Promise<void>;
  start(): Promise<void>;
  pause(): Promise<void> | void;
  resume(): Promise<void> | void;
};

const START_MS = 120_000;
const KEEP_ACK_WAIT_MS = 500;

/** Postgres, nats-server and the program, with separate processes for each role. */
export class Stack {
  readonly postgres: TestPostgres;
  readonly nats: TestNats;
  readonly connection: NatsConnection;
  readonly #options: StackOptions;
  readonly #engines = new Map<string, EngineProcess>();
  readonly #ports = new Map<string, number>();
  /** Output of killed processes. */
  readonly #outputs = new Map<string, string>();
  readonly #dead: string[] = [];
  #keepAckWait: NodeJS.Timeout | undefined;
  #isStopped = false;

  private constructor(parts: Pick<Stack, 'postgres' | 'nats' | 'connection'>, options: StackOptions) {
    this.postgres = parts.postgres;
    this.nats = parts.nats;
    this.connection = parts.connection;
    this.#options = options;
  }

  static async start(options: StackOptions): Promise<Stack> {
    const [postgres, nats] = await Promise.all([startTestPostgres(), startTestNats({ binary: options.natsServer })]);
    const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
    const stack = new Stack({ postgres, nats, connection }, options);
    try {
      await stack.#startEngines();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  /** Calls the current api process, which a restart replaces. */
  graphql: EngineProcess['graphql'] = async (query, variables) => {
    const api = this.#engines.get('api');
    if (api === undefined) throw new Error('the api process does not run');
    return api.graphql(query, variables);
  };

  victim(name: string): Victim {
    if (name === 'postgres') return this.postgres;
    if (name === 'nats-server') return this.nats;
    return {
      kill9: () => this.#killEngine(name),
      start: () => this.#launch(name),
      pause: () => this.#engines.get(name)?.pause(),
      resume: () => this.#engines.get(name)?.resume(),
    };
  }

  /** Names of processes that exited without a kill. */
  endedByThemselves(): string[] {
    const running = [...this.#engines].filter(([, engine]) => engine.hasEnded()).map(([name]) => name);
    return [...this.#dead, ...running];
  }

  /** Output of each process. */
  outputs(): [name: string, output: string][] {
    return ROLE_PROCESSES.map((name) => [
      name,
      `${this.#outputs.get(name) ?? ''}${this.#engines.get(name)?.output() ?? ''}`,
    ]);
  }

  /** Number of messages in JetStream that are not acked. */
  async unacked(): Promise<number> {
    const manager = await this.connection.jetstreamManager();
    const consumers = [
      await manager.consumers.info('EVENTS', 'dispatcher'),
      await manager.consumers.info('DELIVERIES', 'sender'),
    ];
    const { state } = await manager.streams.info('DELIVERIES');
    const counts = consumers.map((info) => info.num_pending + info.num_ack_pending);
    return Math.max(state.messages, ...counts);
  }

  /** Ends all processes, even paused ones, and deletes their data. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#keepAckWait);
    await Promise.all([...this.#engines.values()].map((engine) => engine.kill9()));
    await this.connection.close();
    await Promise.all([this.postgres.stop(), this.nats.stop()]);
  }

  async #startEngines(): Promise<void> {
    for (const name of ROLE_PROCESSES) {
      this.#ports.set(name, await findOwnPort());
      await this.#launch(name);
    }
    await Promise.all([...this.#engines.values()].map(({ url }) => isReady(url, START_MS)));
    if (this.#options.ackWaitMs === undefined) return;
    await this.#shortenAckWait(this.#options.ackWaitMs);
    this.#keepAckWait = setInterval(() => {
      // Each starting process resets the ack wait. While NATS is unavailable, the update fails and nothing changes.
      this.#shortenAckWait(this.#options.ackWaitMs ?? 0).catch(() => undefined);
    }, KEEP_ACK_WAIT_MS);
  }

  async #launch(name: string): Promise<void> {
    const [role = ''] = name.split('-');
    const { env, program } = this.#options;
    const services = { databaseUrl: this.postgres.url, nats: this.nats };
    const port = this.#ports.get(name) ?? (await findOwnPort());
    if (this.#isStopped) return;
    this.#engines.set(name, launchEngineProcess(services, { port, program, env: { ...env, ROLES: role } }));
  }

  async #killEngine(name: string): Promise<void> {
    const engine = this.#engines.get(name);
    if (engine === undefined) return;
    if (engine.hasEnded()) this.#dead.push(name);
    this.#engines.delete(name);
    await engine.kill9();
    this.#outputs.set(name, `${this.#outputs.get(name) ?? ''}${engine.output()}`);
  }

  async #shortenAckWait(ms: number): Promise<void> {
    const { consumers } = await this.connection.jetstreamManager({ timeout: 1_000 });
    const { config } = await consumers.info('DELIVERIES', 'sender');
    if (config.ack_wait !== nanos(ms)) await consumers.update('DELIVERIES', 'sender', { ack_wait: nanos(ms) });
  }
}
