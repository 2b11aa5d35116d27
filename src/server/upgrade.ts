import type { Duplex } from 'node:stream';

/** Answers an upgrade request with an error and closes its connection, which Node.js no longer limits or reads. */
export function refuseUpgrade(socket: Duplex, status: '404 Not Found' | '503 Service Unavailable'): void {
  // end() alone would leave the connection open until the client closes its side.
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
