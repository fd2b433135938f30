#!/usr/bin/env python3
"""Asks a real Prometheus for all that the dashboard of packaging/ shows: dashboard.py INOSYNC PROMETHEUS

Two daemons mirror, one of them also to a node that fails; `inosync overview` tells of both, and Prometheus scrapes it. Each
variable of the board must offer what runs, and no panel may be without data. Installs nothing: see `make dashboard`."""

import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

BOARD = os.path.join(os.path.dirname(__file__), '..', 'packaging', 'grafana-inosync.json')
DEADLINE = 60
SITES = ('shop', 'www')
NODES = ('backup', 'fails', 'local')
SCRAPE = 1
# As Grafana has it: four times the interval of the scrapes.
RATE = f'{4 * SCRAPE}s'
# Past the proxy that the environment may name.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def until(what, attempt):
    """Asks until there is an answer."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            found = attempt()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            sys.exit(f'error: it does not come to pass within {DEADLINE} s: {what}')
        time.sleep(0.1)


class Ground:
    """What runs, and where."""

    def __init__(self, inosync, prometheus, directory):
        self.inosync, self.prometheus, self.dir = os.path.abspath(inosync), os.path.abspath(prometheus), directory
        self.overview, self.api = free_port(), free_port()
        self.running = []
        for name in ('run', 'state', 'config'):
            os.mkdir(self.at(name))
        self.env = {**os.environ, 'RUNTIME_DIRECTORY': self.at('run'), 'STATE_DIRECTORY': self.at('state'),
                    'CONFIGURATION_DIRECTORY': self.at('config')}

    def at(self, name):
        return os.path.join(self.dir, name)

    def start(self, *command):
        log = open(self.at('log'), 'ab')
        self.running.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def start_all(self):
        for site in SITES:
            os.makedirs(self.at(f'{site}/source'))
            self.write(site, 'seed')
            fails = f', (node: "rsync://127.0.0.1:{free_port()}/module", name: "fails")' if site == 'shop' else ''
            config = self.at(f'config/{site}.ron')
            with open(config, 'w', encoding='utf8') as file:
                file.write(f'''(wpath: "{self.at(site)}/source", rpath: "{self.at(site)}/mirror", rexcludes: [],
                    rnodes: [(node: "", name: "local"), (node: "", name: "backup", rpath: "{self.at(site)}/backup"){fails}])''')
            self.start(self.inosync, '-c', config)
        self.start(self.inosync, 'overview', '--listen', f'127.0.0.1:{self.overview}')
        with open(self.at('prometheus.yml'), 'w', encoding='utf8') as file:
            json.dump({'global': {'scrape_interval': f'{SCRAPE}s'}, 'scrape_configs': [
                {'job_name': 'inosync', 'static_configs': [{'targets': [f'127.0.0.1:{self.overview}']}]}]}, file)
        self.start(self.prometheus, f'--config.file={self.at("prometheus.yml")}', f'--storage.tsdb.path={self.at("tsdb")}',
                   f'--web.listen-address=127.0.0.1:{self.api}')

    def has_lost_one(self):
        ended = [process.args for process in self.running if process.poll() is not None]
        if ended:
            sys.exit(f'error: it has ended: {ended[0]}')

    def end(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def write(self, site, name):
        with open(self.at(f'{site}/source/{name}'), 'w', encoding='utf8') as file:
            file.write(name)

    def ask(self, path, **query):
        url = f'http://127.0.0.1:{self.api}/api/v1/{path}?{urllib.parse.urlencode(query)}'
        with DIRECT.open(url, timeout=10) as answer:
            return json.load(answer)['data']

    def ask_for(self, expression):
        """The samples of an expression, as Grafana would ask for it."""
        return self.ask('query', query=expression)['result']


def offered(ground, variable, chosen):
    """The values that a variable of the board offers."""
    query = fill_in(variable['query']['query'], chosen)
    metric, label = re.fullmatch(r'label_values\((.*), (\w+)\)', query).groups()
    return sorted({sample['metric'][label] for sample in ground.ask_for(metric)})


def fill_in(expression, chosen):
    for name, values in chosen.items():
        expression = expression.replace(f'${name}', '|'.join(values))
    return expression.replace('$__rate_interval', RATE)


def main():
    with open(BOARD, encoding='utf8') as file:
        board = json.load(file)
    with tempfile.TemporaryDirectory(prefix='inosync-dashboard-') as directory:
        ground = Ground(*sys.argv[1:3], directory)
        try:
            ground.start_all()
            try_all(ground, board)
        except BaseException:
            if os.path.exists(ground.at('log')):
                with open(ground.at('log'), encoding='utf8', errors='replace') as log:
                    sys.stderr.write(''.join(log.readlines()[-40:]))
            raise
        finally:
            ground.end()


def try_all(ground, board):
    until('all nodes are scraped', lambda: ground.has_lost_one() or len(ground.ask_for('inosync_node_info')) == 5)
    for number in range(8):
        for site in SITES:
            ground.write(site, f'change-{number}')
        time.sleep(SCRAPE)
    chosen = {}
    for variable in board['templating']['list']:
        if variable['type'] != 'query':
            continue
        values = chosen[variable['name']] = offered(ground, variable, chosen)
        print(f'variable {variable["name"]:28} {", ".join(values)}')
    assert (chosen['site'], chosen['node']) == (list(SITES), list(NODES)), chosen
    everything = {variable['name']: [variable['allValue']] for variable in board['templating']['list'] if variable['name'] in chosen}
    empty = without_data(ground, board, chosen, print) + without_data(ground, board, everything, lambda _: None)
    assert not empty, empty
    failing = ground.ask_for('inosync_node_verdict == 2')
    assert [sample['metric']['node'] for sample in failing] == ['fails'], failing


def without_data(ground, board, chosen, tell):
    """The queries of panels that have no data of one of the sites."""
    empty = []
    for panel in board['panels']:
        for target in panel['targets']:
            samples = ground.ask_for(fill_in(target['expr'], chosen))
            # A node that got nothing has no quantile.
            values = sorted(value for sample in samples if not math.isnan(value := float(sample['value'][1])))
            sites = {sample['metric']['site'] for sample in samples if 'site' in sample['metric']}
            tell(f'{panel["title"]:37} {len(values):3} series, ' + (f'{values[0]:.6g} to {values[-1]:.6g}' if values else 'NO DATA'))
            if not values or sites not in (set(), set(SITES)):
                empty.append(target['expr'])
    return empty


if __name__ == '__main__':
    main()
