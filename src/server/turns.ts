import type { ExecutionArgs, ExecutionResult } from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import type { Context } from '../schema/context.ts';
import { holderOf } from './holder-count.ts';

/** Half of Prisma's connections: what one tenant asks must not keep the others waiting. */
const MAX_RUNNING = 5;
/** As many as the default rate limit lets through at once. */
const MAX_WAITING = 200;

type Line = { running: number; readonly waiting: (() => void)[] };

/** So many queries and mutations of a tenant run at a time, the others wait for their turn. */
export function takeTurns(): Plugin<Context> {
  const lines = new Map<string, Line>();
  return {
    onExecute: ({ args, executeFn, setExecuteFn }) => {
      // `as`: Yoga leaves the type of the context open.
      const holder = holderOf((args.contextValue as Context).viewer);
      if (holder === undefined) return;
      setExecuteFn(async (execution: ExecutionArgs): Promise<ExecutionResult> => {
        // Not before: a line that empties meanwhile is forgotten.
        const line = lines.get(holder) ?? { running: 0, waiting: [] };
        lines.set(holder, line);
        if (line.running >= MAX_RUNNING) {
          if (line.waiting.length >= MAX_WAITING) return { errors: [tooManyOperations()] };
          await new Promise<void>((resolve) => line.waiting.push(resolve));
        } else line.running += 1;
        try {
          // `as`: it is graphql-js's, or another plugin's in its place.
          return await (executeFn(execution) as Promise<ExecutionResult>);
        } finally {
          endTurn(line, () => lines.delete(holder));
        }
      });
    },
  };
}

/** The next one takes over the place. */
function endTurn(line: Line, onEmpty: () => void): void {
  const next = line.waiting.shift();
  if (next !== undefined) {
    next();
    return;
  }
  line.running -= 1;
  if (line.running === 0) onEmpty();
}

function tooManyOperations() {
  const message = `at most ${MAX_RUNNING} operations of a tenant run at a time, and ${MAX_WAITING} wait`;
  return createGraphQLError(message, { extensions: { code: 'TOO_MANY_OPERATIONS' } });
}
