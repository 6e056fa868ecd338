/** What a policy may import besides. `headers` and `prompt` are capabilities: the configuration must grant them. */

declare module 'witgate:policy/log@0.1.0' {
  export function write(at: 'debug' | 'info' | 'warn' | 'problem', text: string): void;
}

declare module 'witgate:policy/cells@0.1.0' {
  export function open(name: string, width: number, scope: 'process' | 'fleet', merge: 'sum' | 'max' | 'newest'): number;
  export function load(table: number, index: number): number;
  export function loadEach(table: number, indexes: number[]): number[];
  export function store(table: number, index: number, value: number): void;
  export function add(table: number, index: number, delta: number): number;
  export function swapIf(table: number, index: number, expected: number, value: number): boolean;
}

declare module 'witgate:policy/names@0.1.0' {
  export function tenant(id: number): string;
  export function tenantLabel(id: number, key: string): string | undefined;
  export function route(id: number): string;
  export function model(id: number): string;
}

declare module 'witgate:policy/headers@0.1.0' {
  export function value(name: string): string | undefined;
}

declare module 'witgate:policy/prompt@0.1.0' {
  export function length(): number;
  export function text(start: number, maxBytes: number): string;
}
