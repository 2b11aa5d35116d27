import type { WebSocket } from 'ws';
import { createConcurrencyQuota, quotaKeyOf } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';

export const MAX_SOCKETS = 4_000;
/** Maximum sockets of one tenant, so that it cannot lock out the others. */
const MAX_SOCKETS_PER_TENANT = MAX_SOCKETS / 4;
/** Maximum sockets that are not authenticated yet. graphql-ws closes a socket that does not authenticate within 3 s. */
const MAX_SOCKETS_WITHOUT_VIEWER = MAX_SOCKETS / 4;
/** Limits of sent bytes that clients have not read. */
type UnreadLimits = {
  /** A socket that exceeds the limit of one socket or of its tenant is closed. */
  readonly perSocket: number;
  readonly perTenant: number;
  /** Limit of all sockets: beyond it, the socket with the most unread bytes is closed. */
  readonly total: number;
};
const MEBIBYTE = 1024 * 1024;
const UNREAD: UnreadLimits = { perSocket: 16 * MEBIBYTE, perTenant: 64 * MEBIBYTE, total: 256 * MEBIBYTE };
/** Close codes of this server; clients may reconnect. */
const SLOW_READER = 4900;
const TOO_MANY_SOCKETS = 4901;

/** The queries and mutations that run over one socket, including those that the client completed early. */
export type RunningOperations = Set<AbortController>;

/** Counts sockets, their running operations and their unread bytes. */
type SocketLimits = {
  /** Whether the limit of unauthenticated sockets is reached. */
  isCrowded(): boolean;
  /** Call for each new socket. */
  watch(socket: WebSocket): void;
  /** Call after each message in either direction: closes a socket whose client does not read. */
  boundUnread(socket: WebSocket): void;
  /** Whether the viewer may have one more socket; otherwise closes this one. */
  admit(socket: WebSocket, viewer: Viewer): boolean;
  /** The operations are aborted when the socket is closed. */
  runningOver(socket: WebSocket): RunningOperations;
};

export function createSocketLimits(unread: UnreadLimits = UNREAD): SocketLimits {
  const running = new WeakMap<WebSocket, RunningOperations>();
  const all = new Set<WebSocket>();
  const withoutViewer = new Set<WebSocket>();
  const tenantSockets = new WeakMap<WebSocket, Set<WebSocket>>();
  const byTenant = new Map<string, Set<WebSocket>>();
  /**
   * Bytes. If no socket exceeds this, the sum of all is at most half of the total limit, so most messages need no
   * summation.
   */
  const negligible = unread.total / 2 / MAX_SOCKETS;
  const boundUnread = (socket: WebSocket) => {
    const own = socket.bufferedAmount;
    if (own <= negligible) return;
    if (own > unread.perSocket || sumOfUnread(tenantSockets.get(socket) ?? []) > unread.perTenant) cutReader(socket);
    if (sumOfUnread(all) > unread.total)
      cutReader([...all].reduce((most, one) => (unreadOf(one) > unreadOf(most) ? one : most)));
  };
  const hold = (socket: WebSocket, tenant: string) => {
    const sockets = byTenant.get(tenant) ?? new Set();
    byTenant.set(tenant, sockets.add(socket));
    tenantSockets.set(socket, sockets);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) byTenant.delete(tenant);
    });
  };
  const admitted = createConcurrencyQuota({ max: MAX_SOCKETS, maxPerTenant: () => MAX_SOCKETS_PER_TENANT });
  return {
    isCrowded: () => withoutViewer.size >= MAX_SOCKETS_WITHOUT_VIEWER,
    watch: (socket) => {
      const operations: RunningOperations = new Set();
      running.set(socket, operations);
      all.add(socket);
      withoutViewer.add(socket);
      socket.once('close', () => {
        all.delete(socket);
        withoutViewer.delete(socket);
        for (const operation of operations) operation.abort();
      });
      socket.on('message', () => {
        boundUnread(socket);
      });
    },
    boundUnread,
    admit: (socket, viewer) => {
      // The client may have disconnected during authentication.
      if (!withoutViewer.delete(socket)) return false;
      const permit = admitted.take(viewer);
      if (permit === undefined) {
        socket.close(TOO_MANY_SOCKETS, 'TOO_MANY_SOCKETS');
        return false;
      }
      socket.once('close', permit.release);
      const tenant = quotaKeyOf(viewer);
      if (tenant !== undefined) hold(socket, tenant);
      return true;
    },
    runningOver: (socket) => {
      const operations = running.get(socket);
      if (operations === undefined) throw new Error('unknown socket');
      return operations;
    },
  };
}

/** Unread bytes of an open socket; those of a closing socket are freed within seconds. */
function unreadOf(socket: WebSocket): number {
  return socket.readyState === socket.OPEN ? socket.bufferedAmount : 0;
}

function sumOfUnread(sockets: Iterable<WebSocket>): number {
  let sum = 0;
  for (const socket of sockets) sum += unreadOf(socket);
  return sum;
}

function cutReader(socket: WebSocket): void {
  socket.close(SLOW_READER, 'SLOW_READER');
}
