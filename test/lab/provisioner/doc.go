// Package provisioner is a site's storage: it does what a cloud's disk driver does for a Kubernetes cluster, with the
// disks of package volume.
//
// Two StorageClasses are offered.
//
//   - lab-local, the default: a disk in one node. Its PersistentVolumes are of the kind "local", bound to the node the
//     scheduler chose, and need nothing on the node.
//   - lab-network: a disk any node of the site can have, one node at a time. Every node sees every mount of the
//     machine, so "one at a time" has to be made true: Kubernetes' own attach-detach controller decides which node may
//     have the disk, as it does in a cloud, and a VolumeAttachment is obeyed by mounting the disk for that node, or by
//     taking it away even from a node that still writes (see [volume.Store.Detach]). The nodes' side of it is a small
//     CSI driver, [RunNode]. A dead node thus keeps its disks for as long as it would in a cloud: until Kubernetes
//     gives up on it after six minutes, or somebody taints it node.kubernetes.io/out-of-service.
//
// [Run] is the cluster's side, for both classes: it makes, deletes, grows, attaches and detaches. Each object is looked
// at as a whole at every event (what is wanted, what is there, what to do), so nothing is lost with the process.
// sig-storage-lib-external-provisioner is not used: it writes to the client library's global scheme at each start, which
// crashes a process that serves other sites meanwhile, and it ends the process by itself.
package provisioner
