import type { ServerHealthQuery } from '../generated/graphql.ts';
import type { Tone } from '../ui/outcome.tsx';
import { healthWords as words } from './messages.ts';

type Health = NonNullable<ServerHealthQuery['server']['health']>;

type Problem = { readonly part: string; readonly tone: Tone; readonly text: string };

type HealthInWords = { readonly tone: Tone; readonly summary: string; readonly problems: readonly Problem[] };

/** The state of the server, and each problem with the name of its part. Warnings are problems with which a part still works. */
export function healthInWords({ isReady, parts }: Health): HealthInWords {
  const problems = parts.flatMap(({ name, isOk, isNeeded, message, warnings }): Problem[] => {
    const part = words.parts[name] ?? name;
    const text = [message ?? words.broken, ...(isNeeded ? [] : [words.notNeeded])].join('. ');
    return [
      ...(isOk ? [] : [{ part, tone: isNeeded ? ('failure' as const) : ('waiting' as const), text }]),
      ...warnings.map((warning) => ({ part, tone: 'waiting' as const, text: warning })),
    ];
  });
  if (!isReady) return { tone: 'failure', summary: words.notReady, problems };
  if (problems.length > 0) return { tone: 'waiting', summary: words.withProblems, problems };
  return { tone: 'success', summary: words.works, problems };
}
