import type { ServerResponse } from 'node:http';

/**
 * Calls back once the response has ended or its connection is closed. A response that waits for an earlier one of its
 * connection (pipelining) emits no event if the connection closes first.
 */
export function onceOver(response: ServerResponse, callback: () => void): void {
  const { socket } = response.req;
  let isOver = false;
  const end = () => {
    // While the connection emits `close`, its listeners are called even if they have been removed meanwhile.
    if (isOver) return;
    isOver = true;
    response.off('close', end);
    socket.off('close', end);
    callback();
  };
  if (socket.destroyed) {
    callback();
    return;
  }
  // A client can send any number of requests before the first one is answered.
  socket.setMaxListeners(0);
  response.once('close', end);
  socket.once('close', end);
}
