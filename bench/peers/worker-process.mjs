/**
 * A child process that answers JSON requests line by line, one at a time (worker.py says what they are). Everything
 * that can go wrong with it becomes one sentence.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * What a worker could not do. `kind` tells whether the worker is still usable: after `died`, `nonsense` and `late` it
 * is gone.
 */
export class WorkerFailure extends Error {
  /** @param {'package' | 'failure' | 'died' | 'nonsense' | 'late'} kind @param {string} message one sentence */
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export class WorkerProcess {
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  /**
   * @type {{ id: number, what: string, resolve: (ok: any) => void, reject: (failure: WorkerFailure) => void, timer:
   * NodeJS.Timeout } | null}
   */
  #pending = null;
  /** @type {WorkerFailure | null} */
  #gone = null;
  #ids = 0;
  #stderr = '';
  #exited;

  /**
   * @param {string} name what messages call it, such as `Python worker`
   * @param {string} program @param {string[]} args @param {Record<string, string>} [env] added to ours
   * @param {string} [advice] how to repair a missing package; `{package}` is replaced by its name
   */
  constructor(name, program, args, env = {}, advice = 'install it') {
    this.name = name;
    this.program = program;
    this.advice = advice;
    this.#child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#read(line));
    this.#child.stderr.on('data', (chunk) => (this.#stderr = (this.#stderr + String(chunk)).slice(-4000)));
    // A worker that died takes its pipe along; the exit tells about it.
    this.#child.stdin.on('error', () => undefined);
    // A run takes minutes, and a worker sees only after it that nobody waits any more.
    const kill = () => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#end('died', `The ${name} cannot be started (${program}: ${error.message}); name another program.`);
        resolve(undefined);
      });
      // 'close', not 'exit': by then its last words on stderr have been read.
      this.#child.once('close', (code, signal) => {
        process.off('exit', kill);
        const last = this.#stderr.trimEnd().split('\n').at(-1)?.trim() ?? '';
        const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
        const during = this.#pending ? ` while it was asked to ${this.#pending.what}` : '';
        this.#end(
          'died',
          `The ${name} ${how}${during}${last ? `; its last words: ${last.slice(0, 300)}` : ', without a word'}.`,
        );
        resolve(undefined);
      });
    });
  }

  get isGone() {
    return this.#gone !== null;
  }

  /**
   * @param {{ do: string, slot?: string } & Record<string, unknown>} request
   * @param {number} [seconds] after which the worker is ended
   * @returns {Promise<any>} the answer's `ok`
   * @throws WorkerFailure
   */
  ask(request, seconds = 1800) {
    if (this.#gone) return Promise.reject(this.#gone);
    if (this.#pending) throw new Error(`The ${this.name} is still busy: requests go one at a time.`);
    const id = ++this.#ids;
    const what = [request.do, request.slot].filter(Boolean).join(' ');
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#end('late', `The ${this.name} did not answer to "${what}" within ${seconds} s, and was ended.`);
        this.#child.kill('SIGKILL');
      }, seconds * 1000);
      this.#pending = { id, what, resolve, reject, timer };
      this.#child.stdin.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  }

  /** Ends the worker; waits until it is gone. */
  async close() {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await this.#exited;
    clearTimeout(timer);
  }

  /** @param {string} line */
  #read(line) {
    const pending = this.#pending;
    if (!pending) return;
    /** @type {any} */
    let answer;
    try {
      answer = JSON.parse(line);
    } catch {
      answer = null;
    }
    const isAnswer =
      typeof answer === 'object' &&
      answer !== null &&
      answer.id === pending.id &&
      (typeof answer.ok === 'object' || typeof answer.error?.message === 'string');
    if (!isAnswer) {
      this.#end(
        'nonsense',
        `The ${this.name} answered to "${pending.what}" with what is no answer, ${JSON.stringify(line.slice(0, 80))}, and was ended.`,
      );
      this.#child.kill('SIGKILL');
      return;
    }
    clearTimeout(pending.timer);
    this.#pending = null;
    if (!answer.error) return pending.resolve(answer.ok);
    const { kind, message } = answer.error;
    pending.reject(
      kind === 'package'
        ? new WorkerFailure(
            'package',
            `The ${this.name} (${this.program}) lacks the package ${answer.error.package}; ${this.advice.replaceAll('{package}', answer.error.package)}.`,
          )
        : new WorkerFailure('failure', `The ${this.name} could not ${pending.what}: ${message.replace(/\.$/, '')}.`),
    );
  }

  /** @param {'died' | 'nonsense' | 'late'} kind @param {string} message */
  #end(kind, message) {
    this.#gone ??= new WorkerFailure(kind, message);
    const pending = this.#pending;
    this.#pending = null;
    if (!pending) return;
    clearTimeout(pending.timer);
    pending.reject(this.#gone);
  }
}
