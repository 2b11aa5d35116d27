import { messages } from '../messages.ts';
import { bytes, count, relativeTime } from '../ui/format.ts';
import { Mark } from '../ui/outcome.tsx';
import { Table } from '../ui/table.tsx';
import { Time, useNow } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { healthInWords, type ProcessList } from './health-in-words.ts';
import { processesWords as words } from './messages.ts';
import styles from './server-health.module.css';

/** The processes of the installation, on all machines. */
export function Processes({ nodes, problem }: ProcessList) {
  return (
    <>
      {problem != null && <p className={styles.missing}>{words.missing(visibleLine(problem))}</p>}
      <Table
        label={words.title}
        head={[
          words.host,
          words.process,
          words.state,
          words.roles,
          words.version,
          words.started,
          words.memory,
          words.inFlight,
        ]}
        grow={words.state}
        numbers={[words.memory, words.inFlight]}
        rows={nodes.map((node) => ({
          key: node.id,
          cells: [
            visibleLine(node.hostname),
            words.processOf(node.pid, node.worker),
            <ProcessState key="state" {...node} />,
            visibleLine(node.roles.join(', ')),
            visibleLine(node.version),
            <Time key="started" at={node.startedAt} />,
            bytes(node.memoryBytes),
            node.attemptsInFlight == null ? messages.none : count(node.attemptsInFlight),
          ],
        }))}
      />
    </>
  );
}

type StateProps = Pick<ProcessList['nodes'][number], 'health' | 'answeredAt'>;

function ProcessState({ health, answeredAt }: StateProps) {
  const now = useNow();
  if (health == null) {
    return (
      <Mark tone="failure" detail={words.lastAnswer(relativeTime(Date.parse(answeredAt), now))}>
        {words.noAnswer}
      </Mark>
    );
  }
  const { tone, problems } = healthInWords(health);
  const detail = problems.map(({ part, text }) => `${part}: ${visibleLine(text)}`).join('; ');
  return (
    <Mark tone={tone} title={detail} detail={detail}>
      {words.states[tone]}
    </Mark>
  );
}
