import { join } from 'node:path';
import process from 'node:process';
import { connect, type NatsConnection, nanos } from 'nats';
import { pino } from 'pino';
import { findNatsServer } from '../../src/embedded/nats-binary.ts';
import { type EngineProcess, launchEngineProcess } from '../support/engine-process.ts';
import { startTestNats } from '../support/nats.ts';
import { startNatsCluster } from '../support/nats-cluster.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { waitFor, waitUntilReady } from '../support/wait-for.ts';
import { streamOfLeader, type Topology } from './schedule.ts';

export type StackOptions = {
  readonly topology: Topology;
  /** The path of the nats-server. */
  readonly natsServer: string;
  /** The program to launch; see LaunchOptions. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ack wait of the sender: after a kill, its messages are redelivered after this time. Undefined: 60 s. */
  readonly ackWaitMs: number | undefined;
  /** A cluster of Postgres to copy; see startTestPostgres. */
  readonly postgresCluster?: string;
};

/** A process or server that the schedule can kill, pause and restart by name. */
export type Victim = {
  readonly name: string;
  kill9(): Promise<void>;
  /** Sends SIGTERM, or the signal with which the server stops in an orderly way. */
  terminate(): Promise<void>;
  start(): Promise<void>;
  /** Resolves when the started process or server works; an operator restarts the next one then. */
  ready?(): Promise<void>;
  pause(): Promise<void> | void;
  resume(): Promise<void> | void;
  /** Cuts a member of a cluster off from the others. */
  isolate?(): Promise<void>;
  rejoin?(): Promise<void>;
};

/** The nats-servers: one, or a cluster. */
type Brokers = { readonly url: string; readonly victims: readonly Victim[]; stop(): Promise<void> };

const KEPT_DATA = join(import.meta.dirname, '../../.data');
const STREAMS = ['EVENTS', 'DELIVERIES'];
const KEEP_ACK_WAIT_MS = 500;

/** Postgres, the nats-servers and the program, with separate processes for each role. */
export class Stack {
  readonly postgres: TestPostgres;
  readonly nats: Brokers;
  readonly connection: NatsConnection;
  readonly #options: StackOptions;
  readonly #engines = new Map<string, EngineProcess>();
  readonly #ports = new Map<string, number>();
  /** Output of killed processes. */
  readonly #outputs = new Map<string, string>();
  readonly #dead: string[] = [];
  #keepAckWait: NodeJS.Timeout | undefined;
  #calls = 0;
  #isStopped = false;

  private constructor(parts: Pick<Stack, 'postgres' | 'nats' | 'connection'>, options: StackOptions) {
    this.postgres = parts.postgres;
    this.nats = parts.nats;
    this.connection = parts.connection;
    this.#options = options;
  }

  static async start(options: StackOptions): Promise<Stack> {
    const [postgres, nats] = await Promise.all([startTestPostgres(options.postgresCluster), startBrokers(options)]);
    const connection = await connect({
      servers: nats.url.split(','),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    const stack = new Stack({ postgres, nats, connection }, options);
    try {
      await stack.#startEngines();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  get topology(): Topology {
    return this.#options.topology;
  }

  /** URLs of the running processes, by name. */
  get urls(): ReadonlyMap<string, string> {
    return new Map([...this.#engines].map(([name, { url }]) => [name, url]));
  }

  /** Calls the api processes in turn. */
  graphql: EngineProcess['graphql'] = async (query, variables) => {
    const apis = [...this.#engines].filter(([name]) => name.startsWith('api'));
    this.#calls += 1;
    const [, api] = apis[this.#calls % apis.length] ?? [];
    if (api === undefined) throw new Error('no api process is running');
    return api.graphql(query, variables);
  };

  /** Returns the target with this name. `leader of <stream>` is the server that leads the stream now. */
  async victim(target: string): Promise<Victim> {
    if (target === 'postgres') return { name: target, ...this.postgres };
    const stream = streamOfLeader(target);
    const name = stream === undefined ? target : await this.#leaderOf(stream);
    const broker = this.nats.victims.find((one) => one.name === name);
    if (broker !== undefined) return { ...broker, ready: () => this.#replicated() };
    return {
      name,
      kill9: () => this.#endEngine(name, 'kill9'),
      terminate: () => this.#endEngine(name, 'terminate'),
      start: () => this.#launch(name),
      ready: async () => {
        await waitUntilReady({ url: this.#engines.get(name)?.url ?? '' });
      },
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
    return this.topology.processes.map((name) => [
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

  /** Ids of the events that EVENTS holds: all that JetStream acknowledged, if it lost none. */
  async storedEvents(): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    const manager = await this.connection.jetstreamManager();
    if ((await manager.streams.info('EVENTS')).state.messages === 0) return ids;
    const consumer = await this.connection.jetstream().consumers.get('EVENTS');
    for await (const message of await consumer.consume()) {
      ids.add(message.headers?.get('Nats-Msg-Id') ?? '');
      if (message.info.pending === 0) break;
    }
    return ids;
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
    for (const name of this.topology.processes) {
      this.#ports.set(name, await findOwnPort());
      await this.#launch(name);
    }
    await Promise.all([...this.#engines.values()].map(waitUntilReady));
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
    this.#engines.set(
      name,
      launchEngineProcess(services, { port, program, env: { ...env, ...this.topology.env, ROLES: role } }),
    );
  }

  async #endEngine(name: string, how: 'kill9' | 'terminate'): Promise<void> {
    const engine = this.#engines.get(name);
    if (engine === undefined) return;
    if (engine.hasEnded()) this.#dead.push(name);
    this.#engines.delete(name);
    await engine[how]();
    this.#outputs.set(name, `${this.#outputs.get(name) ?? ''}${engine.output()}`);
  }

  /** Returns the leader of the stream, or the first member while there is no leader. */
  async #leaderOf(stream: string): Promise<string> {
    const [first] = this.nats.victims;
    try {
      const { streams } = await this.connection.jetstreamManager({ timeout: 2_000 });
      const { cluster } = await streams.info(stream);
      return cluster?.leader ?? first?.name ?? '';
    } catch {
      return first?.name ?? '';
    }
  }

  /** Resolves when all replicas of the streams are up to date. */
  async #replicated(): Promise<void> {
    const isCurrent = async () => {
      const { streams } = await this.connection.jetstreamManager({ timeout: 2_000 });
      const clusters = await Promise.all(STREAMS.map(async (stream) => (await streams.info(stream)).cluster));
      return clusters.every((cluster) => cluster?.replicas?.every(({ current }) => current) ?? true);
    };
    await waitFor(isCurrent, { what: 'the replicas of the streams' });
  }

  async #shortenAckWait(ms: number): Promise<void> {
    const { consumers } = await this.connection.jetstreamManager({ timeout: 1_000 });
    const { config } = await consumers.info('DELIVERIES', 'sender');
    if (config.ack_wait !== nanos(ms)) await consumers.update('DELIVERIES', 'sender', { ack_wait: nanos(ms) });
  }
}

async function startBrokers({ natsServer, topology }: StackOptions): Promise<Brokers> {
  if (topology.isCluster) {
    const cluster = await startNatsCluster(natsServer);
    return { ...cluster, victims: cluster.members };
  }
  const server = await startTestNats({ binary: natsServer });
  return { url: server.url, victims: [{ name: 'nats-server', ...server }], stop: () => server.stop() };
}

/** The path of a nats-server: the one on PATH, or one that is downloaded and kept. */
export function findServer(report: (text: string) => void): Promise<string> {
  const searchPath = process.env['PATH'] ?? '';
  return findNatsServer({ dataDir: KEPT_DATA, searchPath, log: pino({ level: 'warn' }), report });
}
