#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Constant tables of the topo room from data/instances.json: gen_topo.py IN OUT."""
import json
import sys

ARCH = {  # chip name prefix: architecture number
    'NeuronCore-v2': 2, 'NeuronCore-v3': 3, 'NeuronCore-v4': 4}
# The driver's identity strings (behaviour.md 18); the Trainium3 row continues the series (ours).
IDENTITY = {
    'trn1': ('Trn1', 'NDv2', 'NCv2', 'Trainium1'), 'inf2': ('Inf2', 'NDv3', 'NCv2', 'Inferentia2'),
    'trn2': ('Trn2', 'NDv3', 'NCv3', 'Trainium2'), 'trn3': ('Trn3', 'NDv4', 'NCv4', 'Trainium3')}


def val(obj, key, default=None):
    v = obj.get(key)
    if isinstance(v, dict):
        v = v.get('value')
    return default if v is None else v


def cstr(s):
    return 'NULL' if s is None else json.dumps(s)


def servers_and_devices(inst, insts):
    servers = val(inst, 'servers', 1)
    devices = val(inst, 'devices')
    if servers > 1:
        devices = val(inst, 'devices_per_server', devices // servers)
    return servers, devices


def neighbours(inst, devices):
    adj = inst.get('neuronlink', {}).get('adjacency')
    if adj is not None:
        return [adj[str(d)] for d in range(devices)]
    return [[o for o in range(devices) if o != d] for d in range(devices)]  # switched


def routing_ids(inst, devices):
    by_rid = val(inst, 'routing_id_to_device')
    if by_rid is None:
        return list(range(devices))
    assert sorted(by_rid) == list(range(devices))
    return [by_rid.index(d) for d in range(devices)]


def device_rows(inst, devices):
    table = inst.get('device_table') or {}
    rows = {r['device']: r for r in table.get('rows') or []}
    links, rids = neighbours(inst, devices), routing_ids(inst, devices)
    out = []
    for d in range(devices):
        row = rows.get(d, {})
        if row.get('connected') is not None:
            assert row['connected'] == links[d], (d, row['connected'], links[d])
        assert all(0 <= n < devices and d in links[n] for n in links[d])
        numa = row.get('numa_node')
        out.append('    { %d, { %s }, %d, %d, %s, %s },' % (
            len(links[d]), ', '.join(map(str, links[d])) or '0', rids[d],
            -1 if numa is None else numa, cstr(row.get('pci_bdf')), cstr(row.get('cpu_affinity'))))
    return out


def shape(inst, devices):
    """How the links of one server run, from the links themselves where they are published."""
    adj = inst.get('neuronlink', {}).get('adjacency')
    if adj is None:
        assert 'switch' in link_kind(inst, '') or devices == 1
        return 'SWITCH' if devices > 1 else 'ALONE'
    links = {d: set(adj[str(d)]) for d in range(devices)}
    shapes = {
        'ALONE': {0: set()},
        'LINE': {d: {d - 1, d + 1} & set(range(devices)) for d in range(devices)},
        'RING': {d: {(d - 1) % devices, (d + 1) % devices} for d in range(devices)},
        'TORUS': {d: {(d - 4) % 16, (d + 4) % 16, d - d % 4 + (d - 1) % 4, d - d % 4 + (d + 1) % 4}
                  for d in range(16)}}
    return next(name for name, other in shapes.items() if other == links)


def nic_devices(inst, devices):
    """The device that each network interface hangs off (collectives.md 9): the j-th interface of a PCI
    bus belongs to the j-th device of that bus; where no bus is published, interface c to device c."""
    efa = inst.get('efa', {})
    count = min(val(efa, 'count', 0), devices)
    nics, rows = val(efa, 'pci_bdf'), (inst.get('device_table') or {}).get('rows')
    if not nics or not rows:
        return list(range(count))
    assert len(nics) == count
    used, out = {}, []
    for nic in nics:
        bus = nic.split(':')[0]
        on_bus = [r['device'] for r in rows if r['pci_bdf'].split(':')[1] == bus]
        out.append(on_bus[used.get(bus, 0)])
        used[bus] = used.get(bus, 0) + 1
    return out


def link_kind(inst, inherited):
    return inst.get('neuronlink', {}).get('topology', {}).get('kind', inherited)


def instance(name, inst, data):
    if 'server_type' in inst:  # a server of this UltraServer is that type
        base = dict(data['instances'][inst['server_type']])
        base['servers'], kind = inst['servers'], link_kind(inst, 'none')
        base['devices'] = data['instances'][inst['server_type']]['devices']
        servers, devices = val(inst, 'servers'), val(base, 'devices')
        vcpus, mem = val(base, 'vcpus', 0), val(base, 'host_memory', 0)
        inst, gbps = base, val(base['efa'], 'bandwidth', 0)
    else:
        servers, devices = servers_and_devices(inst, data)
        vcpus, mem = val(inst, 'vcpus', 0) // servers, val(inst, 'host_memory', 0) // servers
        kind, gbps = link_kind(inst, 'none'), val(inst.get('efa', {}), 'bandwidth', 0) // servers
    chip = data['chips'][inst['chip']]
    arch = ARCH[inst['chip'].split()[0]]
    stacks, cores = val(chip, 'hbm_stacks'), val(chip, 'physical_cores')
    hbm = val(chip, 'hbm_bytes_each') or (val(chip, 'hbm_total') << 30) // stacks
    assert hbm * stacks == val(chip, 'hbm_total') << 30
    prefix = name[:4]
    ident = IDENTITY[prefix]
    size = 'ultraserver' if name.endswith('ultraserver') else name.split('.')[1]
    cid = name.replace('.', '_').replace('-', '_')
    rows = ['static const struct topo_device devices_%s[] = {' % cid]
    rows += device_rows(inst, devices) + ['};']
    nics = nic_devices(inst, devices)
    fields = [cstr(name), cstr(ident[0]), cstr(size), cstr(ident[1]), cstr(ident[2]), cstr(ident[3]),
              cstr(kind), 'TOPO_V%d' % arch, 'TOPO_' + shape(inst, devices),
              val(chip, 'lnc_default'), 1 if arch == 2 else 2, devices,
              cores, stacks, servers, vcpus, mem, 'UINT64_C(%d)' % hbm,
              val(chip, 'semaphores_per_block', 256), val(chip, 'events_per_block', 256),
              val(chip, 'cc_cores') // cores, gbps, len(nics),
              '{ %s }' % (', '.join(map(str, nics)) or '0'), 'devices_%s' % cid]
    return '\n'.join(rows), '    { %s },' % ', '.join(map(str, fields))


def main():
    with open(sys.argv[1]) as f:
        data = json.load(f)
    tables = [instance(n, i, data) for n, i in data['instances'].items()]
    with open(sys.argv[2], 'w') as f:
        f.write('/* SPDX-License-Identifier: Apache-2.0 */\n'
                '/* Made by gen_topo.py from data/instances.json. */\n')
        f.write('\n'.join(t[0] for t in tables))
        f.write('\nstatic const struct topo_instance instances[] = {\n')
        f.write('\n'.join(t[1] for t in tables))
        f.write('\n};\n')


if __name__ == '__main__':
    main()
