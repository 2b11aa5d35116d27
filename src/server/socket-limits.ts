import type { WebSocket } from 'ws';
import type { Viewer } from '../schema/viewer.ts';
import { createHolderCount, holderOf } from './holder-count.ts';

export const MAX_SOCKETS = 4_000;
/** One tenant's pages must not keep the others' out. */
const MAX_SOCKETS_PER_HOLDER = MAX_SOCKETS / 4;
/** They have 3 s to say whose they are. */
const MAX_SOCKETS_WITHOUT_VIEWER = MAX_SOCKETS / 4;
/**
 * Who goes on asking while so much of what was sent is unread is cut off. A stream alone gets nowhere near: each waits
 * until its last value is written. So do answers, but every `ping` is answered as well.
 */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;
/** The same of all sockets of a tenant together: the one that asks for more is cut off. */
const MAX_UNREAD_BYTES_PER_HOLDER = 64 * 1024 * 1024;
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
  /** Whether the viewer may have this socket as well; otherwise it is being closed. */
  admit(socket: WebSocket, viewer: Viewer): boolean;
  /** Are aborted when it is closed. */
  runningOver(socket: WebSocket): RunningOperations;
};

export function createSocketLimits(): SocketLimits {
  const running = new WeakMap<WebSocket, RunningOperations>();
  const withoutViewer = new Set<WebSocket>();
  const holders = new WeakMap<WebSocket, Set<WebSocket>>();
  const ofHolder = new Map<string, Set<WebSocket>>();
  const isUnread = (socket: WebSocket) => {
    const own = socket.bufferedAmount;
    if (own === 0) return false;
    let sum = 0;
    for (const other of holders.get(socket) ?? []) sum += other.bufferedAmount;
    return own > MAX_UNREAD_BYTES || sum > MAX_UNREAD_BYTES_PER_HOLDER;
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
      withoutViewer.add(socket);
      socket.once('close', () => {
        withoutViewer.delete(socket);
        for (const operation of operations) operation.abort();
      });
      socket.on('message', () => {
        if (isUnread(socket)) socket.close(SLOW_READER, 'SLOW_READER');
      });
    },
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
