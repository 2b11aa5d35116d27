import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect, Events, type JetStreamManager, type NatsConnection, NatsError } from 'nats';
import { assessServerVersion, connectionOptions, type LoginFiles } from './link.ts';
import type { NatsNames } from './names.ts';
import { type Denial, describeDenied, describeRefusal } from './refusal.ts';
import {
  assertOwnStream,
  describeUse,
  isNearlyFull,
  type RequiredStream,
  requiredSetup,
  streamProblems,
} from './streams.ts';

type ProbeTarget = {
  readonly servers: readonly string[];
  readonly files?: LoginFiles | undefined;
  readonly names: NatsNames;
};

/** One finding about NATS, as a sentence without secrets. */
export type NatsFinding = {
  readonly subject: string;
  readonly result: 'ok' | 'warning' | 'failed';
  readonly text: string;
};

const REQUEST_MS = 5_000;
/** JetStream's error codes for a stream and a consumer that do not exist. */
const NOT_FOUND = new Set<number | undefined>([10014, 10059]);

/** Connects once, reads the state that the engine needs, and changes nothing. Every failure becomes a finding. */
export async function probeNats({ servers, files, names }: ProbeTarget): Promise<NatsFinding[]> {
  const hosts = servers.map((server) => new URL(server).host);
  let connection: NatsConnection;
  try {
    const options = connectionOptions({ servers, files }, names);
    connection = await connect({ ...options, servers: hosts, reconnect: false, ignoreAuthErrorAbort: false });
  } catch (error) {
    return [{ subject: 'NATS', result: 'failed', text: `${hosts.join(', ')}: ${describeRefusal(error)}` }];
  }
  try {
    const version = connection.info?.version;
    const assessment = assessServerVersion(version);
    const denied = watchDenials(connection);
    const server: NatsFinding = {
      subject: 'nats-server',
      result: assessment === 'sound' ? 'ok' : assessment === 'risky' ? 'warning' : 'failed',
      text: `${version ?? 'unknown'}${assessment === 'sound' ? '' : '; install 2.12.5 or newer, which survives a kill'}`,
    };
    const jsm = await connection.jetstreamManager({ timeout: REQUEST_MS, checkAPI: false });
    const streams = await probeStreams(jsm, names);
    const { allLogSubjects, senderCreatedSubject, sendersSubject, readersSubject, processesSubject } = names;
    const processes = processesSubject('*');
    for (const subject of [allLogSubjects, senderCreatedSubject, sendersSubject, readersSubject, processes]) {
      connection.subscribe(subject);
    }
    await connection.flush();
    // The client queues the denials that arrived before the answer to the flush.
    await nextTurn();
    const refusals = denied().map((denial): NatsFinding => {
      const result = denial.subject === processes ? 'warning' : 'failed';
      return { subject: 'permissions', result, text: describeDenied(denial) };
    });
    return [server, ...streams, ...refusals];
  } finally {
    await connection.close();
  }
}

/** nats-server reports denied permissions as events of the connection, not as answers to the requests. */
function watchDenials(connection: NatsConnection): () => Denial[] {
  const denied = new Map<string, Denial>();
  const watch = async () => {
    for await (const { type, permissionContext } of connection.status()) {
      if (type === Events.Error && permissionContext !== undefined) {
        denied.set(describeDenied(permissionContext), permissionContext);
      }
    }
  };
  void watch();
  return () => [...denied.values()];
}

async function probeStreams(jsm: JetStreamManager, names: NatsNames): Promise<NatsFinding[]> {
  const { streams, consumers } = requiredSetup(names);
  const findings: NatsFinding[] = [];
  for (const required of streams) {
    const finding = await probeStream(jsm, required);
    findings.push({ subject: `stream ${required.name}`, ...finding });
  }
  for (const { stream, config } of Object.values(consumers)) {
    const finding = await describe(async () => {
      const { num_pending: pending, num_ack_pending: inFlight } = await jsm.consumers.info(stream, config.durable_name);
      return { result: 'ok', text: `${pending} messages pending, ${inFlight} in flight` };
    });
    findings.push({ subject: `consumer ${config.durable_name}`, ...finding });
  }
  return findings;
}

function probeStream(jsm: JetStreamManager, required: RequiredStream): Promise<Omit<NatsFinding, 'subject'>> {
  return describe(async () => {
    const info = await jsm.streams.info(required.name);
    assertOwnStream(required, info.config);
    const problems = streamProblems(required, info.config);
    if (problems.length > 0) return { result: 'warning', text: problems.join('; ') };
    if (isNearlyFull(info)) return { result: 'warning', text: `nearly full: ${describeUse(info)}` };
    return { result: 'ok', text: `${info.state.messages} messages, ${info.config.num_replicas} replicas` };
  });
}

async function describe(probe: () => Promise<Omit<NatsFinding, 'subject'>>): Promise<Omit<NatsFinding, 'subject'>> {
  try {
    return await probe();
  } catch (error) {
    const isMissing = error instanceof NatsError && NOT_FOUND.has(error.api_error?.err_code);
    if (isMissing) return { result: 'ok', text: 'does not exist yet; the start creates it' };
    return { result: 'failed', text: describeRefusal(error) };
  }
}
