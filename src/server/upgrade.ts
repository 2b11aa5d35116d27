import { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

function offersWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket';
}

/** Without `shouldUpgradeCallback`, Node.js before 24.9 emits `upgrade` for each request with this property. */
class Request extends IncomingMessage {
  /** Without an initializer, because the constructor of IncomingMessage sets `upgrade`. */
  private declare hasOffer: boolean;

  get upgrade(): boolean {
    return this.hasOffer && (this.method === 'CONNECT' || offersWebSocket(this));
  }

  set upgrade(hasOffer: boolean) {
    this.hasOffer = hasOffer;
  }
}

/**
 * Options of a server that ignores the offer of any protocol but WebSocket (RFC 9110, 7.8). Otherwise Node.js emits no
 * `request` for the requests of Java's HttpClient and of `curl --http2`, which offer h2c.
 */
export const ONLY_WEBSOCKETS = { shouldUpgradeCallback: offersWebSocket, IncomingMessage: Request };

/** Answers an upgrade request with an error and closes its connection, which Node.js no longer limits or reads. */
export function refuseUpgrade(socket: Duplex, status: '404 Not Found' | '503 Service Unavailable'): void {
  // end() alone would leave the connection open until the client closes its side.
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
