import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Stack } from './stack.ts';

export type Child<Message> = {
  /** The child's first message. Rejects if the child exits before it. */
  readonly first: Promise<Message>;
  /** Calls the listener with every later message. */
  onMessage(listener: (message: Message) => void): void;
  send(message: object): void;
  stop(): Promise<void>;
};

/**
 * Runs a file of this folder in its own process, so that its work takes no time of the measuring process. When the stack
 * stops, it stops the child too. The file must exit when its IPC channel closes; `Message` is the type it sends there.
 */
export function startChild<Message>(
  stack: Pick<Stack, 'onStop'>,
  file: string,
  args: readonly string[] = [],
): Child<Message> {
  // In its own process group: Ctrl-C reaches only the bench, which then stops its children in order.
  const child = fork(join(import.meta.dirname, file), args, { detached: true });
  const ended = once(child, 'exit');
  const first = Promise.race([
    once(child, 'message').then(([message]) => message as Message), // each file declares its messages
    ended.then(([code]) => {
      throw new Error(`${file} ended with ${String(code)}`);
    }),
  ]);
  // Avoids an unhandled rejection when no caller awaits `first`.
  first.catch(() => undefined);
  const stop = async () => {
    if (child.connected) child.disconnect();
    await ended;
  };
  stack.onStop(stop);
  return {
    first,
    onMessage: (listener) => {
      child.on('message', listener as (message: unknown) => void); // as above
    },
    send: (message) => child.send(message),
    stop,
  };
}
