import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readNatsServerInfo } from '../../src/embedded/nats-server-info.ts';
import { findOwnPort } from './own-port.ts';
import { ServerProcess } from './server-process.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
import { createTempFolder } from './temp-folder.ts';

/** One server of the cluster. */
type ClusterMember = {
  readonly name: string;
  readonly port: number;
  readonly logFile: string;
  /** Rewrites its configuration. Takes effect at its next start. */
  configure(options: MemberOptions): Promise<void>;
  kill9(): Promise<void>;
  /** SIGTERM; it stays down until `start()`. */
  terminate(): Promise<void>;
  /** Starts it and waits until it accepts connections. */
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Disconnects it from the other members, not from its clients. */
  isolate(): Promise<void>;
  rejoin(): Promise<void>;
};

/** `password` is the password of the user `engine`. Without it, clients connect without credentials. */
export type MemberOptions = { readonly password?: string };

export type NatsCluster = {
  /** The URLs of all members, comma-separated. */
  readonly url: string;
  readonly members: readonly ClusterMember[];
  stop(): Promise<void>;
};

/** 2 MiB, like the embedded server. */
const MAX_PAYLOAD_BYTES = 2 * 1024 * 1024;
/** A loopback port without a listener. Advertised to other members, so that they use only their configured routes. */
const NOWHERE = '127.0.0.1:9';

/**
 * Starts a cluster of three nats-servers with JetStream on loopback. Each route goes through its own TCP proxy, so that
 * a member can be isolated.
 */
export async function startNatsCluster(binary: string, options: MemberOptions = {}): Promise<NatsCluster> {
  const folder = await createTempFolder();
  const places = await Promise.all(
    ['nats-1', 'nats-2', 'nats-3'].map(async (name) => ({ name, routePort: await findOwnPort() })),
  );
  const routes = await Promise.all(
    places.flatMap((from) => places.filter((to) => to !== from).map((to) => Route.open(from, to))),
  );
  const members = await Promise.all(
    places.map((place) => prepareMember(place, { binary, folder: folder.path, routes })),
  );
  await Promise.all(members.map((member) => member.configure(options)));
  await Promise.all(members.map((member) => member.start()));
  return {
    url: members.map(({ port }) => `nats://127.0.0.1:${port}`).join(),
    members,
    stop: async () => {
      await Promise.all(members.map((member) => member.terminate()));
      await Promise.all(routes.map((route) => route.cut()));
      await folder.remove();
    },
  };
}

type Place = { readonly name: string; readonly routePort: number };

/** The proxied connection from one member to another. */
class Route {
  readonly from: Place;
  readonly to: Place;
  #proxy: TcpProxy;
  #isCut = false;

  private constructor({ from, to, proxy }: Pick<Route, 'from' | 'to'> & { readonly proxy: TcpProxy }) {
    this.from = from;
    this.to = to;
    this.#proxy = proxy;
  }

  static async open(from: Place, to: Place): Promise<Route> {
    return new Route({ from, to, proxy: await startTcpProxy({ port: to.routePort, ownPort: await findOwnPort() }) });
  }

  get port(): number {
    return this.#proxy.port;
  }

  async cut(): Promise<void> {
    if (this.#isCut) return;
    this.#isCut = true;
    await this.#proxy.stop();
  }

  async restore(): Promise<void> {
    if (!this.#isCut) return;
    this.#proxy = await startTcpProxy({ port: this.to.routePort, ownPort: this.port });
    this.#isCut = false;
  }
}

type MemberDeps = { readonly binary: string; readonly folder: string; readonly routes: readonly Route[] };

async function prepareMember(place: Place, { binary, folder, routes }: MemberDeps): Promise<ClusterMember> {
  const { name, routePort } = place;
  const directory = join(folder, name);
  await mkdir(directory);
  const configFile = join(directory, 'nats.conf');
  const logFile = join(directory, 'log');
  const port = await findOwnPort();
  const server = new ServerProcess({
    commandLine: [binary, '-c', configFile, '-l', logFile],
    stopSignal: 'SIGTERM',
    isReady: async () => (await readNatsServerInfo(port)) !== undefined,
  });
  const outgoing = routes.filter(({ from }) => from === place);
  const all = routes.filter(({ from, to }) => from === place || to === place);
  return {
    name,
    port,
    logFile,
    configure: async ({ password }) => {
      const urls = outgoing.map((route) => `"nats://127.0.0.1:${route.port}"`).join(', ');
      const lines = [
        `server_name: ${name}`,
        `listen: "127.0.0.1:${port}"`,
        `max_payload: ${MAX_PAYLOAD_BYTES}`,
        `jetstream { store_dir: "${directory}" }`,
        ...(password === undefined ? [] : [`authorization { user: engine, password: "${password}" }`]),
        `cluster { name: test, listen: "127.0.0.1:${routePort}", advertise: "${NOWHERE}", routes: [${urls}] }`,
      ];
      await writeFile(configFile, lines.join('\n'));
    },
    kill9: () => server.kill9(),
    terminate: () => server.stop(),
    start: () => server.start(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    isolate: async () => {
      await Promise.all(all.map((route) => route.cut()));
    },
    rejoin: async () => {
      await Promise.all(all.map((route) => route.restore()));
    },
  };
}
