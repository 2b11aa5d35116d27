import type { HealthFragment, ServerProcessesQuery } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import type { Tone } from '../ui/outcome.tsx';
import { processesWords, healthWords as words } from './messages.ts';

type Problem = { readonly part: string; readonly tone: Tone; readonly text: string };

type HealthTone = 'success' | 'waiting' | 'failure';

export type HealthInWords = {
  readonly tone: HealthTone;
  readonly summary: string;
  readonly problems: readonly Problem[];
};

/** The state of the server, and its problems with the names of their parts. With a warning, the part still works. */
export function healthInWords({ isReady, parts }: HealthFragment): HealthInWords {
  const problems = parts.flatMap(({ name, isOk, isNeeded, message, warnings }): Problem[] => {
    const part = messages.serverParts[name] ?? name;
    const reason = message == null ? words.broken : withoutName(message, part);
    const text = [reason, ...(isNeeded ? [] : [words.notNeeded])].join('. ');
    return [
      ...(isOk ? [] : [{ part, tone: isNeeded ? ('failure' as const) : ('waiting' as const), text }]),
      ...warnings.map((warning) => ({ part, tone: 'waiting' as const, text: withoutName(warning, part) })),
    ];
  });
  if (!isReady) return { tone: 'failure', summary: words.notReady, problems };
  if (problems.length > 0) return { tone: 'waiting', summary: words.withProblems, problems };
  return { tone: 'success', summary: words.works, problems };
}

/** A message of the server without the name of the part, which stands before it. */
function withoutName(message: string, part: string): string {
  return message.startsWith(`${part} `) ? message.slice(part.length + 1) : message;
}

export type ProcessList = NonNullable<ServerProcessesQuery['server']['processes']>;

/** The state of all processes in one line. One that does not answer is not ready. */
export function processesInWords({ nodes, problem }: ProcessList): {
  readonly tone: HealthTone;
  readonly summary: string;
} {
  const tones = nodes.map(({ health }) => (health == null ? 'failure' : healthInWords(health).tone));
  const failures = tones.filter((tone) => tone === 'failure').length;
  const total = nodes.length;
  if (failures > 0) return { tone: 'failure', summary: processesWords.notReady(failures, total) };
  const hasProblems = problem != null || tones.includes('waiting');
  return hasProblems
    ? { tone: 'waiting', summary: processesWords.withProblems(total) }
    : { tone: 'success', summary: processesWords.ready(total) };
}
