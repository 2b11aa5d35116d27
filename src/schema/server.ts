import { MAX_DATA_BYTES } from '../events/parse.ts';
import { builder } from './builder.ts';
import { MAX_PAGE_SIZE } from './page.ts';

/** The program and its configuration. */
export type ServerInfo = {
  readonly version: string;
  readonly retentionDays: number;
  /** Waits before attempts 2, 3, …, in milliseconds. */
  readonly retryScheduleMs: readonly number[];
  /** Operations per second of each credential. */
  readonly operationsPerSecond: number;
  /** Where browsers reach the server, without a slash at the end. */
  readonly publicUrl?: string | undefined;
  /** The same answer as GET /health/ready, within 2 s. */
  readonly checkHealth: () => Promise<ServerHealth>;
  /** Yields the same state, then each change of it within some seconds, until the signal aborts. */
  readonly watchHealth: (stopping: AbortSignal) => AsyncIterable<ServerHealth>;
  /** The processes of the installation, asked over NATS, within about a second. Never more than 256. */
  readonly findProcesses: () => Promise<ServerProcesses>;
};

export type HealthPart = {
  readonly name: string;
  readonly ok: boolean;
  readonly message?: string;
  readonly warnings?: readonly string[];
  readonly needed?: false;
};

export type ServerHealth = { readonly isReady: boolean; readonly parts: readonly HealthPart[] };

export type ServerProcesses = {
  /** For people; without names of hosts or users. */
  readonly problem?: string | undefined;
  readonly nodes: readonly ServerProcess[];
};

export type ServerProcess = {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly worker?: number | undefined;
  readonly roles: readonly string[];
  readonly version: string;
  readonly nodeVersion: string;
  readonly startedAt: Date;
  readonly answeredAt: Date;
  /** Undefined if the process did not answer this time. */
  readonly health?: ServerHealth | undefined;
  readonly memoryBytes: number;
  readonly attemptsInFlight?: number | undefined;
};

const HealthPartType = builder.objectRef<HealthPart>('ServerHealthPart').implement({
  description: 'The state of one dependency of the process.',
  fields: (t) => ({
    name: t.exposeString('name', {
      description: 'The name of the dependency: `database`, `nats`, `workers` or `start`.',
    }),
    isOk: t.exposeBoolean('ok', { description: 'Whether the dependency has no problem.' }),
    isNeeded: t.boolean({
      description: 'Whether the process is not ready without the dependency.',
      resolve: ({ needed }) => needed !== false,
    }),
    message: t.exposeString('message', { nullable: true, description: 'The problems, for people; null without any.' }),
    warnings: t.stringList({
      description: 'Problems that do not make the process unready, for people.',
      resolve: ({ warnings }) => [...(warnings ?? [])],
    }),
  }),
});

const HealthType = builder.objectRef<ServerHealth>('ServerHealth').implement({
  description: 'The state of a process, as in `GET /health/ready`.',
  fields: (t) => ({
    isReady: t.exposeBoolean('isReady', { description: 'Whether every needed dependency works.' }),
    parts: t.field({
      type: [HealthPartType],
      description: 'The dependencies, each with its state.',
      resolve: ({ parts }) => [...parts],
    }),
  }),
});

const ProcessType = builder.objectRef<ServerProcess>('ServerProcess').implement({
  description: 'A process of the installation: a program that was started, or one of its worker processes.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'An id that the process chose when it started.' }),
    hostname: t.exposeString('hostname', { description: 'The name of its machine or container, as in its log.' }),
    pid: t.exposeInt('pid', { description: 'Its process id, as in its log.' }),
    worker: t.exposeInt('worker', {
      nullable: true,
      description: 'The number of a worker process, as in its log; null in other processes.',
    }),
    roles: t.stringList({
      description: 'Its roles, as in `ROLES`. The roles of its workers are not among them.',
      resolve: ({ roles }) => [...roles],
    }),
    version: t.exposeString('version', { description: 'The version of the program.' }),
    nodeVersion: t.exposeString('nodeVersion', { description: 'The version of Node.js.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', description: 'The time of its start.' }),
    answeredAt: t.expose('answeredAt', {
      type: 'DateTime',
      description: 'The time of its last answer, which the other fields are from.',
    }),
    health: t.expose('health', {
      type: HealthType,
      nullable: true,
      description: 'Its state; null if it did not answer this time.',
    }),
    memoryBytes: t.exposeFloat('memoryBytes', { description: 'The memory that it uses (RSS), in bytes.' }),
    attemptsInFlight: t.exposeInt('attemptsInFlight', {
      nullable: true,
      description: 'The number of attempts that it is making; null without the role `sender`.',
    }),
  }),
});

const ProcessesType = builder.objectRef<ServerProcesses>('ServerProcesses').implement({
  description: 'The processes of the installation, on all machines.',
  fields: (t) => ({
    problem: t.exposeString('problem', {
      nullable: true,
      description: 'The reason why processes can be missing, for people: NATS is unavailable. Null if there is none.',
    }),
    nodes: t.field({
      type: [ProcessType],
      complexity: { field: 1, multiplier: 20 },
      description:
        'The processes by host name and process id, at most 256. One that does not answer any longer, and did not stop in order, remains for 5 minutes.',
      resolve: ({ nodes }) => [...nodes],
    }),
  }),
});

const LimitsType = builder.objectRef<{ readonly operationsPerSecond: number }>('ServerLimits').implement({
  description: 'The limits that a client may have to show.',
  fields: (t) => ({
    maxEventDataBytes: t.int({ description: "The maximum size of an event's data.", resolve: () => MAX_DATA_BYTES }),
    maxPageSize: t.int({ description: 'The maximum of `first` and `last`.', resolve: () => MAX_PAGE_SIZE }),
    maxSubscriptionsPerTenant: t.int({
      description: 'The maximum number of webhook subscriptions of a tenant, active or not.',
      resolve: (_limits, _args, { services }) => services.maxSubscriptionsPerTenant,
    }),
    operationsPerSecond: t.exposeInt('operationsPerSecond', {
      description: 'The maximum rate of operations of a credential. It does not apply to the scope ADMIN.',
    }),
  }),
});

const ServerType = builder.objectRef<ServerInfo>('Server').implement({
  description: 'The program that answers, and its configuration.',
  fields: (t) => ({
    version: t.exposeString('version', { description: 'The version of the program.' }),
    time: t.field({
      type: 'DateTime',
      description: 'The time of the database now, which all times in answers are based on.',
      resolve: (_server, _args, { services }) => new Date(services.database.clock.now()),
    }),
    retentionDays: t.exposeInt('retentionDays', {
      description: 'The number of days for which events, deliveries and attempts are kept.',
    }),
    retrySchedule: t.floatList({
      description: 'The waits before the second attempt, the third, and so on, in seconds, each varied by up to 20 %.',
      resolve: ({ retryScheduleMs }) => retryScheduleMs.map((ms) => ms / 1_000),
    }),
    limits: t.field({ type: LimitsType, resolve: (server) => server }),
    health: t.field({
      type: HealthType,
      nullable: true,
      description: 'The state of the process that answers; null without the scope ADMIN.',
      resolve: ({ checkHealth }, _args, { viewer }) => (viewer.scope === 'ADMIN' ? checkHealth() : null),
    }),
    processes: t.field({
      type: ProcessesType,
      nullable: true,
      complexity: 500,
      description:
        'The processes of the installation. The one that answers asks the others over NATS, which takes up to a second. Null without the scope ADMIN.',
      resolve: ({ findProcesses }, _args, { viewer }) => (viewer.scope === 'ADMIN' ? findProcesses() : null),
    }),
  }),
});

builder.subscriptionField('serverHealth', (t) =>
  t.field({
    type: HealthType,
    description:
      'The state of the process that answers, then each change of it, within some seconds. Requires the scope ADMIN.',
    authScopes: { admin: true },
    subscribe: (_root, _args, { services, stopping }) => services.server.watchHealth(stopping),
    resolve: (health) => health,
  }),
);

builder.queryField('server', (t) =>
  t.field({
    type: ServerType,
    description: 'The program that answers, and its configuration.',
    resolve: (_root, _args, { services }) => services.server,
  }),
);
