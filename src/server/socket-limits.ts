import type { WebSocket } from 'ws';
import type { Viewer } from '../auth/viewer.ts';
import { createHolderCount, holderOf } from '../auth/holder-count.ts';

export const MAX_SOCKETS = 4_000;
/** One tenant's pages must not keep the others' out. */
const MAX_SOCKETS_PER_HOLDER = MAX_SOCKETS / 4;
/** They have 3 s to say whose they are. */
const MAX_SOCKETS_WITHOUT_VIEWER = MAX_SOCKETS / 4;
/** Limits of the bytes that were sent and that clients have not read. */
type UnreadLimits = {
  /** Of one socket, of all sockets of a tenant, and of all sockets: a socket that exceeds one of the first two is closed. */
  readonly perSocket: number;
  readonly perHolder: number;
  /** Beyond it, the socket with the most unread bytes is closed. */
  readonly total: number;
};
const MEBIBYTE = 1024 * 1024;
const UNREAD: UnreadLimits = { perSocket: 16 * MEBIBYTE, perHolder: 64 * MEBIBYTE, total: 256 * MEBIBYTE };
/** Close codes of our own; clients may come again. */
const SLOW_READER = 4900;
const TOO_MANY_SOCKETS = 4901;

/** What runs over one socket: queries and mutations, also those whose client does not want to know any more. */
export type RunningOperations = Set<AbortController>;

/** Counts sockets, and what they do. */
export type SocketLimits = {
  /** Whether one more would be too many, as long as nobody knows whose it is. */
  isCrowded(): boolean;
  /** For each new socket. */
  watch(socket: WebSocket): void;
  /** After each message in either direction: closes a socket whose client does not read. */
  boundUnread(socket: WebSocket): void;
  /** Whether the viewer may have this socket as well; otherwise it is being closed. */
  admit(socket: WebSocket, viewer: Viewer): boolean;
  /** Are aborted when it is closed. */
  runningOver(socket: WebSocket): RunningOperations;
};

export function createSocketLimits(unread: UnreadLimits = UNREAD): SocketLimits {
  const running = new WeakMap<WebSocket, RunningOperations>();
  const all = new Set<WebSocket>();
  const withoutViewer = new Set<WebSocket>();
  const holders = new WeakMap<WebSocket, Set<WebSocket>>();
  const ofHolder = new Map<string, Set<WebSocket>>();
  /** With less, all sockets together are within half of the limit, and need not be counted for each message. */
  const negligible = unread.total / 2 / MAX_SOCKETS;
  const boundUnread = (socket: WebSocket) => {
    const own = socket.bufferedAmount;
    if (own <= negligible) return;
    if (own > unread.perSocket || sumOfUnread(holders.get(socket) ?? []) > unread.perHolder) cutReader(socket);
    if (sumOfUnread(all) > unread.total)
      cutReader([...all].reduce((most, one) => (unreadOf(one) > unreadOf(most) ? one : most)));
  };
  const hold = (socket: WebSocket, holder: string) => {
    const sockets = ofHolder.get(holder) ?? new Set();
    ofHolder.set(holder, sockets.add(socket));
    holders.set(socket, sockets);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) ofHolder.delete(holder);
    });
  };
  const admitted = createHolderCount({ max: MAX_SOCKETS, maxPerHolder: MAX_SOCKETS_PER_HOLDER });
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
      // It may have gone while its credentials were looked at.
      if (!withoutViewer.delete(socket)) return false;
      const release = admitted.take(viewer);
      if (release === undefined) {
        socket.close(TOO_MANY_SOCKETS, 'TOO_MANY_SOCKETS');
        return false;
      }
      socket.once('close', release);
      const holder = holderOf(viewer);
      if (holder !== undefined) hold(socket, holder);
      return true;
    },
    runningOver: (socket) => {
      const operations = running.get(socket);
      if (operations === undefined) throw new Error('a socket that nobody watches');
      return operations;
    },
  };
}

/** Of an open socket: the bytes of one that is being closed are freed within seconds. */
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
