import type { ExecutionArgs, ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Context } from '../../schema/context.ts';
import { Turns } from '../../lib/turns.ts';
import { holderOf } from '../../auth/holder-count.ts';
import { tooManyOperations } from './too-many-operations.ts';

/** Half of Prisma's connections: what one tenant asks must not keep the others waiting. */
const MAX_RUNNING = 5;
/** As many as the default rate limit lets through at once. */
const MAX_WAITING = 200;
const CROWDED = `at most ${MAX_RUNNING} operations of a tenant run at a time, and ${MAX_WAITING} wait`;

/** So many queries and mutations of a tenant run at a time, the others wait for their turn. */
export function takeTurns(): Plugin<Context> {
  const turns = new Turns({ max: Number.POSITIVE_INFINITY, maxPerHolder: MAX_RUNNING });
  return {
    onExecute: ({ args, executeFn, setExecuteFn }) => {
      // `as`: Yoga leaves the type of the context open.
      const context = args.contextValue as Context;
      const holder = holderOf(context.viewer);
      if (holder === undefined) return;
      setExecuteFn((execution: ExecutionArgs): Promise<ExecutionResult> | ExecutionResult => {
        if (turns.waitingOf(holder) >= MAX_WAITING) return { errors: [tooManyOperations(CROWDED)] };
        // `as`: it is graphql-js's, or another plugin's in its place.
        return turns.run(holder, async (rest) => {
          Object.assign(context, { rest });
          return (await executeFn(execution)) as ExecutionResult;
        });
      });
    },
  };
}
